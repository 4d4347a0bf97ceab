create temp table starts as
select c.*, i.prompt, i.answer, i.grp = 'picture' as pictured
from cells c join items i using (model, item)
where step = 0;

-- Answers, by prompt: without a picture, and with each of the pictures.
select model, prompt,
    any_value(answer) filter (not pictured) as "text only",
    count(distinct item) filter (pictured) as pictures,
    count(distinct answer) filter (pictured) as "different answers",
    avg((answer = t.told)::int) filter (pictured) as "the same as text only"
from starts
join (select model, prompt, any_value(answer) as told from starts where not pictured group by all) t using (model, prompt)
group by all order by all;

-- Two passes of one prompt, side by side at one layer.
create temp table sides as
select a.model, a.lens, a.prompt, a.layer, a.pictured as both_pictured, a.item as one, b.item as other,
    (a.top_ids[1] = b.top_ids[1])::int as best,
    len(list_intersect(a.top_ids[:5], b.top_ids[:5])) / 5 as five
from starts a join starts b using (model, lens, prompt, layer)
where b.pictured and (not a.pictured or a.item < b.item);

create temp table per_prompt as
select model, lens, prompt, layer, both_pictured, avg(best) as best, avg(five) as five
from sides group by all;

-- How alike two passes of one prompt are where the answer starts, by layer: text only against a picture, and as
-- a null a picture against another. Share with the same best token, and share of the five best in common; n is
-- prompts.
select t.model, t.lens, t.layer, count(*) as n,
    mean95(t.best) as "best: text, picture",
    mean95(p.best) as "best: two pictures",
    mean95(p.best - t.best) as "best: difference",
    mean95(t.five) as "five: text, picture",
    mean95(p.five) as "five: two pictures",
    mean95(p.five - t.five) as "five: difference"
from per_prompt t join per_prompt p using (model, lens, prompt, layer)
where not t.both_pictured and p.both_pictured
group by all order by all;

create temp table courses as
select model, lens, prompt, layer, pictured,
    avg(entropy) as entropy, avg(kl_to_final) as kl, avg((answer_rank = 0)::int) as best
from starts group by all;

-- The course itself, by layer: entropy, KL to the model's own distribution (nats), and the share of passes with
-- the answer's token as the best. Differences (text only less picture) are paired by prompt.
select t.model, t.lens, t.layer, count(*) as n,
    mean95(t.entropy) as "entropy, text",
    mean95(p.entropy) as "entropy, picture",
    mean95(t.entropy - p.entropy) as "entropy: difference",
    mean95(t.kl) as "KL, text", mean95(p.kl) as "KL, picture", mean95(t.kl - p.kl) as "KL: difference",
    avg(t.best) as "best, text", avg(p.best) as "best, picture"
from courses t join courses p using (model, lens, prompt, layer)
where not t.pictured and p.pictured
group by all order by all;
