-- Right answers.
select model, grp as "asked", count(*) as n, share95("right") as "right"
from items
group by all order by all;

create temp table starts as
select model, lens, item, grp, layer, kl_to_final,
    (answer_rank = 0)::int as best, (answer_rank < 5)::int as five, top_ids[1] as token
from answer_cells;

-- Where the answer names the thing, by layer, the token it says: KL to the model's own distribution in nats, and
-- the share of items that have the token as the best; the gain of the tuned lens is paired by item.
select r.model, r.layer, count(*) as n,
    mean95(r.kl_to_final) as "KL, logit",
    mean95(t.kl_to_final) as "KL, tuned",
    mean95(r.kl_to_final - t.kl_to_final) as "KL, gain",
    avg(r.best) as "best, logit", avg(t.best) as "best, tuned", mean95(t.best - r.best) as "best, gain"
from starts r join starts t on (r.model, r.item, r.layer) = (t.model, t.item, t.layer)
where r.lens = 'logit' and t.lens = 'tuned'
group by all order by all;

-- Null: what a lens shows without the picture. "own" is the share of items with the token that is said among the
-- five best, "shuffled" the same for the token of a random item of the sort, "words" how many different best tokens
-- there are over all items. Layer 0 has seen no picture: what it shows there is prior.
with said as (
    select model, grp, item, answer_ids[step + 1] as token from items join naming using (model, item)
),
shuffled as (
    select c.model, c.lens, c.item, c.layer, avg(list_contains(c.top_ids[:5], s.token)::int) as five
    from answer_cells c join said s using (model, grp)
    group by all
)
select model, lens, layer,
    share95(s.five) as own, mean95(o.five) as shuffled, mean95(s.five - o.five) as gain,
    count(distinct s.token) as words
from starts s join shuffled o using (model, lens, item, layer)
group by all order by all;

create temp table roles as
select i.model, i.item, w.concept,
    (i.model, i.item, w.concept) in (select (model, item, concept) from own) as own
from items i join (select distinct model, concept from words) w using (model);

create temp table patch_counts as
select model, lens, item, layer, concept, count(distinct position) as five
from best_five join words using (model, token) where kind = 'patch'
group by all;

create temp table at_patches as
with per_pair as (
    select r.*, l.lens, l.layer, coalesce(five, 0) / patches as share
    from roles r join items using (model, item)
    join (select distinct model, lens, layer from cells where kind = 'patch') l using (model)
    left join patch_counts using (model, lens, item, layer, concept)
),
shares as (
    select model, lens, item, layer,
        avg(share) filter (own) as own, avg(share) filter (not own) as other
    from per_pair
    group by all
)
select s.*, k.kl
from shares s join (
    select model, lens, item, layer, avg(kl_to_final) as kl from cells where kind = 'patch' group by all
) k using (model, lens, item, layer);

-- At the patches, by layer: share (in %) of a picture's patches with the word of a thing in it among the five
-- best, and as a null of a thing that is not; KL to what the last layer reads at the same patch, in nats. Gains
-- are paired by picture.
select r.model, r.layer, count(*) as n,
    mean95(100 * r.own) as "in it, logit",
    mean95(100 * t.own) as "in it, tuned",
    mean95(100 * (t.own - r.own)) as "in it, gain",
    mean95(100 * r.other) as "not in it, logit", mean95(100 * t.other) as "not in it, tuned",
    mean95(r.kl) as "KL, logit", mean95(t.kl) as "KL, tuned"
from at_patches r join at_patches t on (r.model, r.item, r.layer) = (t.model, t.item, t.layer)
where r.lens = 'logit' and t.lens = 'tuned'
group by all order by all;

-- Cause: change of the answer's log-probability (nats) when the tenth of the patches where a lens gives the
-- answer's word the most get the mean patch's state, and as a null when random patches get it, as many.
select model, lens, "group" as "asked", count(*) as n,
    mean95(effect) as pointed, mean95(control) as random, mean95(effect - control) as difference
from read_parquet('effects/*/*/*.parquet', hive_partitioning = true)
where change = 'pointed'
group by all order by all;

-- The same, paired: the logit lens's patches against the tuned lens's.
select r.model, r."group" as "asked", count(*) as n, mean95(r.effect - t.effect) as "logit - tuned"
from read_parquet('effects/*/*/*.parquet', hive_partitioning = true) r
join read_parquet('effects/*/*/*.parquet', hive_partitioning = true) t using (model, item, change)
where change = 'pointed' and r.lens = 'logit' and t.lens = 'tuned'
group by all order by all;
