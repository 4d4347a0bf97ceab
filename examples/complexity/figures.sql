-- Length (in tokens) and variety of the answers.
select model, prompt, grp as pictures, count(*) as n,
    mean95(len(answer_ids)) as length,
    count(distinct answer) as "different answers",
    len(list_distinct(flatten(list(answer_ids)))) as "different tokens"
from items
group by all order by all;

create temp macro of_kind(grp, kind, x) as if(grp[3:] = kind, x, null);

create temp view said as
select c.*, i.prompt, if(i.patches < i.positions, i.patches / i.positions, null) as patch_share
from cells c join items i using (model, item)
where step is not null;

-- Sharpness where the answer starts: entropy in nats, by layer.
select model, lens, prompt, layer,
    mean95(of_kind(grp, 'texture', entropy)) as texture,
    mean95(of_kind(grp, 'pattern', entropy)) as pattern,
    mean95(of_kind(grp, 'one object', entropy)) as "one object",
    mean95(of_kind(grp, 'collage', entropy)) as collage
from said
where step = 0
group by all order by all;

create temp table at_patches as
select model, lens, item, c.grp, layer, avg(entropy) as entropy
from cells c join items i using (model, item)
where kind = 'patch' and prompt like 'Describe%'
group by all;

-- Sharpness at the patches: entropy in nats, by layer; the mean over its patches is a picture's value.
select model, lens, layer,
    mean95(of_kind(grp, 'texture', entropy)) as texture,
    mean95(of_kind(grp, 'pattern', entropy)) as pattern,
    mean95(of_kind(grp, 'one object', entropy)) as "one object",
    mean95(of_kind(grp, 'collage', entropy)) as collage
from at_patches
group by all order by all;

-- Per item, what is compared: emergence is the first layer from which on the answer's token is the best one,
-- mean over the answer's tokens; attention is the share on patches, mean over layers and the answer's tokens.
create temp table measures as
with tokens as (
    select model, lens, item, grp, prompt, step,
        1 + coalesce(max(layer) filter (answer_rank > 0), -1) as emergence
    from said
    where answer_rank is not null
    group by all
)
select model, lens, item, grp, prompt, 'length' as measure, avg(len(answer_ids)) as value
from items join (select distinct model, lens from cells) using (model)
group by all
union all
select model, lens, item, grp, prompt, 'entropy, all layers', avg(entropy) from said where step = 0 group by all
union all
select model, lens, item, grp, prompt, 'emergence', avg(emergence) from tokens group by all
union all
select model, lens, item, grp, prompt, 'emergence, first token', avg(emergence)
from tokens
where step = 0
group by all
union all
select model, lens, item, grp, prompt, 'attention on patches', avg(attention_patch) from said
where attention_patch is not null group by all
union all
select model, lens, item, grp, prompt, 'attention on patches, first token', avg(attention_patch) from said
where attention_patch is not null and step = 0 group by all;

-- Emergence (layers) and attention on patches (share).
select model, lens, prompt, measure,
    mean95(of_kind(grp, 'texture', value)) as texture,
    mean95(of_kind(grp, 'pattern', value)) as pattern,
    mean95(of_kind(grp, 'one object', value)) as "one object",
    mean95(of_kind(grp, 'collage', value)) as collage
from measures
where measure not in ('length', 'entropy, all layers')
group by all order by all;

-- Attention on patches where the answer starts, by layer; "if even": the patches' share of all positions.
select model, prompt, layer,
    mean95(of_kind(grp, 'texture', attention_patch)) as texture,
    mean95(of_kind(grp, 'pattern', attention_patch)) as pattern,
    mean95(of_kind(grp, 'one object', attention_patch)) as "one object",
    mean95(of_kind(grp, 'collage', attention_patch)) as collage,
    avg(attention_sink) as "on sinks",
    avg(patch_share) as "if even"
from said
where step = 0 and attention_patch is not null
group by all order by all;

-- Null: spread of the four means (standard deviation), and of the means of 999 shufflings of the kinds.
with kinds as (
    select model, lens, prompt, measure, list(grp order by item) as grps
    from measures group by all
),
places as (
    select *, s,
        
        row_number() over (partition by model, lens, prompt, measure, s order by md5(item || ' ' || s)) as place
    from measures, range(1000) as t(s)
),
mixed as (
    select model, lens, prompt, measure, s, if(s = 0, grp, grps[place]) as kind, avg(value) as mean
    from places join kinds using (model, lens, prompt, measure)
    group by all
),
spread as (
    select model, lens, prompt, measure, s, stddev_pop(mean) as spread from mixed group by all
),
beside as (
    select *, max(if(s = 0, spread, null)) over (partition by model, lens, prompt, measure) as own from spread
)
select model, lens, prompt, measure,
    any_value(own) as spread,
    quantile_cont(spread, 0.95) filter (s > 0) as "shuffled, 95th percentile",
    printf('%.3f', count(*) filter (spread >= own) / 1000) as p
from beside
group by all order by all;
