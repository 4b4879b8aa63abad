"""Kits as links and JSON, the times of their steps, and what of a bad one is refused."""

import json
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.kit import BEAT, MAX_SWING, MAX_TEMPO, MIN_SWING, MIN_TEMPO, PADS, STEPS, Kit, chord, labelled, new
from explorer.latent import MAX_SEED
from explorer.recipe import Recipe, RecipeError

KIT = new("toy", ("low", "high"))
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def with_row(kit: Kit, pad: int, steps: str) -> Kit:
    """A kit with the steps of one pad written as x and dots."""
    row = int(steps.replace("x", "1").replace(".", "0"), 2)
    return replace(kit, beat=(*kit.beat[:pad], row, *kit.beat[pad + 1 :]))


@st.composite
def kits(draw: st.DrawFn) -> Kit:
    model, weights = draw(TEXT), draw(st.sampled_from(["", "0123456789ab"]))
    pads = [
        Recipe(
            model,
            weights,
            seed=draw(st.integers(0, MAX_SEED)),
            truncation=draw(st.floats(0, 2)),
            offsets=draw(st.dictionaries(TEXT, st.floats(-9, 9), max_size=2).map(lambda d: tuple(d.items()))),
            label=draw(st.none() | TEXT),
        )
        for _ in range(PADS)
    ]
    return Kit(
        tuple(pads),
        tuple(draw(st.integers(0, (1 << STEPS) - 1)) for _ in range(PADS)),
        draw(st.floats(MIN_TEMPO, MAX_TEMPO)),
        draw(st.floats(MIN_SWING, MAX_SWING)),
        tuple(draw(st.sets(st.integers(1, PADS)))),
    )


@given(kits())
def test_a_kit_comes_back_from_its_link_and_its_json(kit: Kit) -> None:
    assert Kit.from_url(kit.to_url("http://localhost/")) == kit
    assert Kit.from_json(kit.to_json()) == kit


def test_a_kits_link_is_short_enough_to_send() -> None:
    assert len(new("drums", ("kick", "snare", "closed hat")).to_url()) < 600


def test_the_link_of_a_kit_beside_a_place_is_also_a_link_to_that_place() -> None:
    link = Recipe("toy", seed=9, label="high").to_url() + "&" + KIT.to_url()[1:]
    assert Recipe.from_url(link) == Recipe("toy", seed=9, label="high")
    assert Kit.from_url(link) == KIT


def test_steps_are_a_quarter_of_a_beat_apart() -> None:
    kit = replace(KIT, tempo=120)
    assert [kit.onset(step) for step in range(5)] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert kit.bar == pytest.approx(2)


def test_swing_delays_every_second_step_alone() -> None:
    straight, swung = replace(KIT, tempo=120), replace(KIT, tempo=120, swing=75)
    delays = [swung.onset(step) - straight.onset(step) for step in range(STEPS)]
    assert delays == pytest.approx([0, 0.0625] * 8)
    assert swung.bar == straight.bar


def test_of_pads_that_choke_each_other_only_the_first_is_struck_at_one_step() -> None:
    kit = replace(with_row(with_row(KIT, 2, "x..............."), 3, "xx.............."), choke=(3, 4))
    assert [pad for step, pad in kit.strikes() if step == 0] == [0, 2]
    assert (1, 3) in kit.strikes()
    assert (kit.silenced_by(3), kit.silenced_by(0)) == ({2, 3}, {0})


def test_drums_come_in_the_usual_order_on_their_general_midi_notes_and_hats_choke_each_other() -> None:
    kit = new("any", ("OHH", "kick", "ride", "snare-2", "hihat closed", "clap", "tom", "zap"))
    assert [pad.label for pad in kit.pads] == ["kick", "snare-2", "hihat closed", "OHH", "clap", "tom", "ride", "zap"]
    assert kit.notes()[:7] == (36, 38, 42, 46, 39, 45, 51)
    assert kit.choke == (3, 4)


def test_pads_of_keys_are_a_chord_over_the_whole_range() -> None:
    assert chord(range(36, 85)) == [36, 43, 48, 55, 64, 72, 76, 84]  # C2 G2 C3 G3 E4 C5 E5 C6
    assert chord([50, 52, 54]) == [50, 54]
    assert chord([61]) == [61]


@given(st.lists(st.sampled_from(["kick", "hat", "open hat", "tom", "seven", "open", "conga"]), min_size=1))
def test_no_two_pads_have_one_midi_note(labels: list[str]) -> None:
    notes = labelled("any", labels, range(PADS)).notes()
    assert len(set(notes)) == PADS
    assert all(35 <= note <= 81 for note in notes)


def test_words_that_only_sound_like_drums_do_not_choke_each_other() -> None:
    assert new("any", ("open", "closed", "oh", "that", "kickstart")).choke == ()


GOOD = KIT.to_dict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tempo": float("nan")}, "tempo must be between 30 and 300, not nan"),
        ({"tempo": 1e300}, "tempo must be between"),
        ({"tempo": "120"}, "tempo must be a number"),
        ({"swing": 80}, "swing must be between 50 and 75"),
        ({"beat": BEAT[:-1]}, "32 hexadecimal digits"),
        ({"beat": "x" * 32}, "32 hexadecimal digits"),
        ({"beat": 7}, "32 hexadecimal digits"),
        ({"choke": "9"}, "numbers of pads"),
        ({"choke": [3, 4]}, "numbers of pads"),
        ({"pads": GOOD["pads"][:7]}, "8 pads, not 7"),
        ({"pads": [*GOOD["pads"][:7], None]}, "pad 8 of this kit is missing"),
        ({"pads": [*GOOD["pads"][:7], {"seed": -1}]}, "pad 8: seed must be"),
        ({"pads": [{"seed": 0, "colour": 1}, *GOOD["pads"][1:]]}, "pad 1: a recipe has no field colour"),
        ({"pads": 8}, "a list of 'pads'"),
        ({"volume": 1}, "no field volume"),
        ({"version": 2}, "version 2"),
    ],
)
def test_a_bad_kit_is_refused_in_a_sentence(change: dict, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Kit.from_dict({**GOOD, **change})
    with pytest.raises(RecipeError, match=words):
        Kit.from_json(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize("name", ["beat", "tempo", "swing", "choke"])
def test_a_kit_without_one_of_its_values_is_refused(name: str) -> None:
    rest = [(key, value) for key, value in parse_qsl(KIT.to_url()[1:], keep_blank_values=True) if key != f"kit.{name}"]
    with pytest.raises(RecipeError, match=f"lacks its {name}"):
        Kit.from_url(urlencode(rest))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("kit.tempo=110.0", "kit.tempo=fast", "tempo must be a number"),
        ("kit.tempo=110.0", "kit.tempo=nan", "tempo must be between"),
        ("kit.8.seed=7", "", "pad 8 of this kit is missing"),
        ("kit.8.seed=7", "kit.8.seed=x", "pad 8: seed must be a number"),
        ("kit.8.seed=7", "kit.8.seed=7&kit.8.t=inf", "pad 8: t must be between"),
        ("kit.8.seed=7", "kit.8.seed=7&kit.9.seed=1", "no field 9.seed"),
        ("model=toy", "", "a recipe is an object with at least a 'model'"),
    ],
)
def test_a_bad_link_to_a_kit_is_refused_in_a_sentence(before: str, after: str, words: str) -> None:
    link = KIT.to_url()
    assert before in link
    with pytest.raises(RecipeError, match=words):
        Kit.from_url(link.replace(before, after))


@given(st.text(max_size=60))
def test_any_text_is_a_kit_or_refused(text: str) -> None:
    for parse in (Kit.from_json, Kit.from_url):
        with pytest.raises(RecipeError):
            parse(text)
