-- Answers.
select model, item, prompt, answer, len(answer_ids) as tokens
from items
order by all;

create temp table starts as
select c.*, number from cells c join items using (model, item) where step = 0;

-- The best token where the answer starts, by layer, with its probability.
select model, lens, layer,
    max(if(number = 0, told, null)) as "first picture", max(if(number = 1, told, null)) as second,
    max(if(number = 2, told, null)) as third,
    max(if(number = 3, told, null)) as fourth,
    max(if(number = 4, told, null)) as fifth
from (select *, printf('%s %.2f', top_pieces[1], exp(top_logprobs[1])) as told from starts)
group by all order by all;

-- When the answer's first token comes: the first layer with it among the ten best, and from which on it is the
-- best; attention on patches, mean over layers, and the patches' share of all positions.
select model, lens, item, any_value(answer) as answer,
    min(layer) filter (answer_rank < 10) as "among ten",
    1 + coalesce(max(layer) filter (answer_rank > 0), -1) as "stays best",
    avg(attention_patch) as "attention on patches",
    any_value(if(patches < positions, patches / positions, null)) as "if even"
from starts join items using (model, item)
group by all order by all;

create temp table answers as
select distinct t.model, i.number, t.item, t.token, t.word
from targets t join items i using (model, item)
where source = 'answer';

-- At the patches, by layer: how many have the answer's first token among their ten best, mean over the pictures,
-- and as a null the first tokens of the other pictures' answers.
with counts as (
    select c.model, c.lens, c.item, c.layer, a.token, a.item = c.item as own,
        count(*) filter (list_contains(c.top_ids, a.token)) as found
    from cells c join answers a using (model)
    where kind = 'patch'
        and (a.item = c.item or a.token not in (select token from answers o where o.model = c.model and o.item = c.item))
    group by all
),
per_item as (
    select model, lens, item, layer,
        avg(found) filter (own) as own, avg(found) filter (not own) as other
    from counts
    group by all
)
select model, lens, layer,
    count(*) as n, mean95(own) as "patches with the answer", mean95(other) as "with another's",
    mean95(own - other) as difference
from per_item group by all order by all;
