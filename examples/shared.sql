-- What every figures.sql starts from: the tables of a study's folder, words in them, and intervals.

create temp view items as
select *, "group" as grp from read_parquet('items/*/*.parquet', hive_partitioning = true) where error is null;

create temp view cells as
select *, "group" as grp from read_parquet('cells/*/*/*.parquet', hive_partitioning = true);

create temp view targets as
select *, "group" as grp from read_parquet('targets/*/*/*.parquet', hive_partitioning = true);

-- Words of one token for anything that is in any of the pictures, and what is in each picture.
create temp view words as
select distinct model, concept, token from targets where source = 'concept' and whole;

create temp view own as
select distinct model, item, concept from targets where source = 'concept';

-- The step at which an answer names what is right, or else a thing that is in the picture, or else its first.
create temp view naming as
with said as (
    select model, item, unnest(answer_ids) as token, unnest(range(len(answer_ids))) as step from items
),
known as (
    select distinct model, item, token, source from targets where source <> 'answer'
)
select model, item, coalesce(
    min(step) filter (source = 'expected'),
    min(step) filter (source = 'concept'),
    0
) as step
from said left join known using (model, item, token)
group by all;

-- The cells there: what is read where the model is about to name it.
create temp view answer_cells as
select c.* from cells c join naming using (model, item, step);

-- Every token among the five best at the patches and there; place 1 is the best.
create temp view best_five as
select model, lens, item, grp, layer, position, kind,
    unnest(top_ids[:5]) as token,
    unnest(range(1, least(len(top_ids), 5) + 1)) as place
from (
    select * from cells where kind = 'patch'
    union all by name
    select * from answer_cells
);

-- Student's t at 97.5 % for d degrees of freedom, by its expansion about the normal's 1.96.
create temp macro t975(d) as 1.96 + 2.372 / d + 2.823 / (d * d);

-- Mean of a number with its 95 % interval.
create temp macro mean95(x) as if(
    count(x) < 2,
    printf('%.2f', avg(x)),
    printf('%.2f ± %.2f', avg(x), t975(count(x) - 1) * stddev_samp(x) / sqrt(count(x)))
);

-- Share of items for which something is true, with its 95 % interval after Wilson.
create temp macro wilson(p, n, side) as
(p + 1.921 / n + side * 1.96 * sqrt(p * (1 - p) / n + 0.9604 / (n * n))) / (1 + 3.841 / n);

create temp macro share95(b) as printf(
    '%.2f [%.2f-%.2f]',
    avg(b::int),
    wilson(avg(b::int), count(b), -1),
    wilson(avg(b::int), count(b), 1)
);
