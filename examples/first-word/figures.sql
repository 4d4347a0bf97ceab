-- Right answers.
select model, grp as "asked", count(*) as n, share95("right") as "right"
from items
group by all order by all;

-- The first readable word where the answer names the thing, as layers: a word is what the dictionary knows in
-- one language, "stays" from where on the best token is always one. "each token once" is the share of words
-- among all best tokens.
with per_item as (
    select model, lens, item, grp,
        min(layer) filter (language is not null) as first,
        1 + coalesce(max(layer) filter (language is null), -1) as stays
    from answer_cells group by all
),
once as (
    select model, lens, avg((language is not null)::int) as share
    from (select distinct model, lens, top_ids[1] as token, language from cells) group by all
)
select model, lens, grp as "asked", count(*) as n,
    mean95(first) as first, mean95(stays) as stays, any_value(share) as "each token once"
from per_item join once using (model, lens)
group by all order by all;

-- Share of readable words among the best tokens, by layer.
with per_item as (
    select model, lens, item, layer,
        avg(if(kind = 'patch', (language is not null)::int, null)) as patches,
        avg(if(kind = 'patch', null, (language is not null)::int)) as answer
    from (
        select * from cells where kind = 'patch'
        union all by name
        select * from answer_cells
    )
    group by all
)
select model, lens, layer, mean95(patches) as "at patches", mean95(answer) as "at the answer"
from per_item group by all order by all;

create temp table named as
select model, lens, item, grp, layer, concept, position, kind, min(place) as place
from best_five join words using (model, token)
group by all;

-- Every picture with every thing that is in any picture: what is in it, and as a null what is not.
create temp table pairs as
select model, lens, item, grp, concept,
    if((model, item, concept) in (select (model, item, concept) from own), 'in the picture', 'not in it') as what
from (select distinct model, lens, item, grp from cells)
join (select distinct model, concept from words) using (model);

create temp table layers as select distinct model, lens, layer from cells;

create temp table patch_counts as
select model, lens, item, layer, concept, count(*) as five, count(*) filter (place = 1) as best
from named where kind = 'patch'
group by all;

-- A thing's word at the patches, by layer: "somewhere" is among the five best of a patch or more, "patches" the
-- share of patches that have it as their best; "any wrong" is the word of any of the things that are not in the
-- picture.
with per_pair as (
    select p.*, l.layer, coalesce(five, 0) > 0 as somewhere, coalesce(best, 0) / patches as share
    from pairs p
    join layers l using (model, lens)
    join items using (model, item)
    left join patch_counts using (model, lens, item, layer, concept)
),
per_item as (
    select model, lens, item, layer,
        avg(somewhere::int) filter (what = 'in the picture') as seen,
        avg(somewhere::int) filter (what = 'not in it') as wrong,
        max(somewhere::int) filter (what = 'not in it') as any_wrong,
        avg(share) filter (what = 'in the picture') as patches,
        avg(share) filter (what = 'not in it') as patches_wrong
    from per_pair group by all
)
select model, lens, layer,
    mean95(seen) as "in the picture: somewhere",
    mean95(wrong) as "not in it: somewhere",
    share95(any_wrong) as "any wrong: somewhere",
    mean95(100 * patches) as "in the picture: % of patches",
    mean95(100 * patches_wrong) as "not in it: % of patches"
from per_item
where (model, lens) in (select (model, lens) from patch_counts)
group by all order by all;

-- First layer of a thing's word at any patch, where it comes at all.
with firsts as (
    select model, lens, item, concept, min(layer) as first from patch_counts group by all
),
per_item as (
    select model, lens, item, what, avg(first) as first, avg((first is not null)::int) as comes
    from pairs left join firsts using (model, lens, item, concept) group by all
    union all
    select model, lens, item, 'any that is not in it', min(first), max((first is not null)::int)
    from pairs left join firsts using (model, lens, item, concept) where what = 'not in it' group by all
)
select model, lens, what, count(*) as n, mean95(first) as "first layer", mean95(comes) as comes
from per_item
where (model, lens) in (select (model, lens) from patch_counts)
group by all order by all;

-- What each thing is to an item's answer; pictures whose right word is several tokens are left out.
create temp table roles as
select p.model, p.lens, p.item, p.grp, p.concept, case
    when p.concept = r.concept then '1 the right word'
    when what = 'in the picture' then '2 another thing in the picture'
    else '3 a thing not in it'
end as what
from pairs p join (
    select distinct t.model, t.item, w.concept
    from targets t
    join words w using (model, token)
    join own o on (o.model, o.item, o.concept) = (t.model, t.item, w.concept)
    where t.source = 'expected'
) r using (model, item);

-- Where the answer names the thing, by layer: share of the things of each sort whose word is among the five best.
-- "shuffled" is the right word of a random item of the sort.
with per_item as (
    select r.model, r.lens, r.grp, r.item, r.what, l.layer,
        avg((place is not null)::int) as five, avg((coalesce(place, 9) = 1)::int) as best
    from roles r join layers l using (model, lens)
    left join (select * from named where kind <> 'patch') using (model, lens, item, layer, concept)
    group by all
),
shuffled as (
    select r.model, r.lens, r.grp, r.item, '4 shuffled' as what, l.layer,
        avg((place is not null)::int) as five, null as best
    from roles r join layers l using (model, lens)
    join roles o using (model, lens, grp)
    left join (select * from named where kind <> 'patch') n
        on (n.model, n.lens, n.item, n.layer, n.concept) = (r.model, r.lens, r.item, l.layer, o.concept)
    where r.what[1] = '1' and o.what[1] = '1'
    group by all
)
select model, lens, grp as "asked", layer,
    share95(if(what[1] = '1', five, null)) as "the right word",
    mean95(if(what[1] = '2', five, null)) as "another thing in the picture",
    mean95(if(what[1] = '3', five, null)) as "a thing not in it",
    mean95(if(what[1] = '4', five, null)) as shuffled,
    share95(if(what[1] = '1', best, null)) as "the right word is the best"
from (select * from per_item union all select * from shuffled)
group by all order by all;

-- First layer with the word among the five best where the answer names the thing, where it comes at all.
with per_pair as (
    select r.*, min(layer) as first
    from roles r left join (select * from named where kind <> 'patch') using (model, lens, item, concept)
    group by all
),
per_item as (
    select model, lens, grp, item, what, avg(first) as first, avg((first is not null)::int) as comes
    from per_pair group by all
    union all
    select model, lens, grp, item, '4 any thing not in it', min(first), max((first is not null)::int)
    from per_pair where what[1] = '3' group by all
)
select model, lens, grp as "asked", what, count(*) as n, mean95(first) as "first layer", mean95(comes) as comes
from per_item group by all order by all;
