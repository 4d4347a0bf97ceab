-- Right answers, by the language of the question.
select model, grp as "question in", count(*) as n, share95("right") as "right"
from items
group by all order by all;

create temp table pictured as
select c.*, i.digests[1] as picture, i.number as number
from cells c join items i using (model, item);

-- Whether the question's language changes what is read at a patch: share of cells whose best token is the same
-- as with the English question.
select o.model, o.lens, o.grp as "question in",
    count(*) as cells, avg((o.top_ids[1] = e.top_ids[1])::int) as same
from pictured o join pictured e
    on (o.model, o.lens, o.picture, o.layer, o.position) = (e.model, e.lens, e.picture, e.layer, e.position)
        and e.grp = 'en'
where o.kind = 'patch' and o.grp <> 'en'
group by all order by all;

create temp macro in_language(language, wanted) as if(language is null, null, (language = wanted)::int);

-- Language of the best token at the patches, by layer, for the English questions: "known" is the share of
-- patches whose best token is of one known language, the languages are shares of these.
with per_item as (
    select model, lens, item, layer, avg((language is not null)::int) as known,
        avg(in_language(language, 'en')) as en,
        avg(in_language(language, 'de')) as de,
        avg(in_language(language, 'zh')) as zh
    from cells where kind = 'patch' and grp = 'en' group by all
)
select model, lens, layer, mean95(known) as known, mean95(en) as en, mean95(de) as de, mean95(zh) as zh
from per_item group by all order by all;

-- Null: the same if every token that was ever the best came up alike.
select model, lens, count(*) as tokens, avg((language is not null)::int) as known,
    avg(in_language(language, 'en')) as en,
    avg(in_language(language, 'de')) as de,
    avg(in_language(language, 'zh')) as zh
from (select distinct model, lens, top_ids[1] as token, language from cells)
group by all order by all;

-- Language of the best token where the answer names the thing, by the question's language and by layer.
select model, lens, grp as "question in", layer, share95((language is not null)::int) as known,
    avg(in_language(language, 'en')) as en,
    avg(in_language(language, 'de')) as de,
    avg(in_language(language, 'zh')) as zh
from answer_cells
group by all order by all;

-- Tokens that spell a thing's word whole in English, German or Chinese and in no other language; only things
-- that have one in each of the three.
create temp table forms as
with single as (
    select model, concept, token, any_value(language) as language
    from targets where source = 'concept' and whole
    group by all having count(distinct language) = 1 and count(*) = count(language)
)
select * from single
where (model, concept) in (
    select (model, concept) from single where language in ('en', 'de', 'zh')
    group by model, concept having count(distinct language) = 3
);

create temp table form_seen as
select distinct model, lens, item, grp, layer, position, kind, concept, language
from best_five join forms using (model, token)
where language in ('en', 'de', 'zh');

-- The thing's own word where the answer names it: share of pictures with a form among the five best, by its
-- language.
with asked as (
    select distinct c.model, c.lens, c.item, c.grp, c.layer, o.concept
    from answer_cells c join own o using (model, item)
    where (o.model, o.concept) in (select (model, concept) from forms)
),
counted as (
    select a.*, f.language
    from asked a
    left join (select * from form_seen where kind <> 'patch') f using (model, lens, item, layer, concept)
),
per_item as (
    select model, lens, item, grp, layer, count(*) filter (language = 'en') > 0 as en,
        count(*) filter (language = 'de') > 0 as de, count(*) filter (language = 'zh') > 0 as zh
    from counted group by all
)
select model, lens, grp as "question in", layer,
    count(*) as n, share95(en) as en, share95(de) as de, share95(zh) as zh
from per_item group by all order by all;

-- Which form comes first at the same place, English or German, where both come: share of places. Of the thing
-- that is in the picture, and as a null of the things that are not.
with firsts as (
    select model, lens, grp, item, kind, position, concept,
        (model, item, concept) in (select (model, item, concept) from own) as own,
        min(layer) filter (language = 'en') as en, min(layer) filter (language = 'de') as de
    from form_seen
    where grp = 'en' or kind <> 'patch'
    group by all
),
per_item as (
    select model, lens, grp, item, kind, own,
        count(*) as places, avg((en < de)::int) as english, avg((de < en)::int) as german,
        avg((de = en)::int) as together
    from firsts where en is not null and de is not null
    group by all
)
select model, lens, if(kind = 'patch', 'patches', 'the answer, asked in ' || grp) as place,
    if(own, 'in the picture', 'not in it') as thing, count(*) as pictures, sum(places) as places,
    mean95(english) as "English first", mean95(german) as "German first", mean95(together) as together
from per_item group by all order by all;
