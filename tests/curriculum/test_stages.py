"""The published schedules, and a run that costs what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agvm_mm.curriculum.presets import BUDGETS, PRESETS
from agvm_mm.curriculum.published import passes, published_schedule, segments
from agvm_mm.curriculum.settings import read_stages
from agvm_mm.curriculum.stages import Schedule, Stage, iteration_shares, real_length

ET, PLUS, MILD = PRESETS['efficienttrain'], PRESETS['efficienttrain++'], PRESETS['detection']
DEIT = (
    Stage(0.2, 96 / 224, (0, 1)),
    Stage(0.4, 160 / 224, (2, 3, 4, 5)),
    Stage(0.2, 192 / 224, (6, 7)),
    Stage(0.2, 1.0, (8, 9)),
)
CONVNEXT = (Stage(0.6, 160 / 224, (0, 1, 2, 3, 4, 5)), Stage(0.4, 1.0, (6, 7, 8, 9)))


class TestPublished:
    def test_segments_of_200_epochs(self) -> None:
        assert segments(PLUS, 200) == [
            [(0, 108), (108, 217)],
            [(78, 117), (117, 156), (156, 196), (196, 235)],
            [(120, 140), (140, 160), (160, 180), (180, 200)],
        ]

    def test_passes_and_cost_of_200_epochs(self) -> None:
        found = passes(PLUS, 200)
        assert found == [217, 157, 80] and sum(found) == 454
        cost = sum(count * stage.cost for count, stage in zip(found, PLUS))
        assert cost == pytest.approx(199.96, abs=5e-3)

    @pytest.mark.parametrize(('stages', 'total'), [(DEIT, 469), (CONVNEXT, 315)])
    def test_passes_of_the_other_lists(self, stages: tuple[Stage, ...], total: int) -> None:
        assert sum(passes(stages, 200)) == total == real_length(stages, 200)

    def test_passes_with_replay(self) -> None:
        stages = [replace(stage, replay=times) for stage, times in zip(PLUS, (4, 2, 1))]
        found = passes(stages, 200)
        assert sum(count * stage.replay for count, stage in zip(found, stages)) == 453

    def test_our_own_length_is_rounded_once_and_to_the_nearest(self) -> None:
        assert real_length(PLUS, 200) == 455  # 454.58
        assert real_length(MILD, 12) == 23  # 22.93; the published rounding gives 22

    def test_schedule_in_iterations(self) -> None:
        schedule = published_schedule(PLUS, 200, 10)
        assert schedule.ends == (2170, 3740, 4540)
        strengths = [schedule.strength_at(i * 10) for i in (0, 107, 109, 216, 217, 374, 453)]
        assert strengths == [0, 0, 1, 1, 2, 6, 9]


class TestShares:
    def test_iterations(self) -> None:
        assert iteration_shares(PLUS) == pytest.approx([0.4791, 0.3449, 0.1760], abs=5e-5)
        assert real_length(PLUS, 10**6) / 10**6 == pytest.approx(2.273, abs=5e-4)

    def test_efficienttrain_keeps_the_epochs_and_costs_less(self) -> None:
        assert [stage.share for stage in ET] == pytest.approx([0.469, 0.225, 0.306], abs=5e-4)
        assert iteration_shares(ET) == pytest.approx([0.6, 0.2, 0.2])
        assert BUDGETS['efficienttrain'] == pytest.approx(0.6530612, abs=1e-7)
        assert real_length(ET, 300, BUDGETS['efficienttrain']) == 300

    def test_strengths(self) -> None:
        assert [value for stage in PLUS for value in stage.strength] == list(range(10))
        assert [value for stage in ET for value in stage.strength] == [1, 3, 5, 7, 9]

    def test_the_mild_one_leaves_more_of_a_small_object(self) -> None:
        assert [stage.ratio * 32 for stage in MILD] == [16, 24, 32]
        assert min(stage.ratio for stage in MILD) > min(stage.ratio for stage in PLUS)


class TestSchedule:
    def test_stages_follow_each_other(self) -> None:
        schedule = Schedule.divide(PLUS, 1000)
        assert schedule.ends == (479, 824, 1000) and schedule.starts == (0, 479, 824)
        assert [schedule.stage_at(i) for i in (0, 478, 479, 823, 824, 999, 1000)] == [
            0,
            0,
            1,
            1,
            2,
            2,
            2,
        ]

    def test_compute_spent(self) -> None:
        schedule = Schedule.divide(PLUS, 100_000)
        assert schedule.compute_at(0) == 0 and schedule.compute_at(100_000) == 1
        assert schedule.compute_at(schedule.ends[0]) == pytest.approx(0.2, abs=1e-5)
        assert schedule.compute_at(schedule.ends[1]) == pytest.approx(0.6, abs=1e-5)

    def test_a_last_stage_shorter_than_an_update_does_not_begin_after_the_end(self) -> None:
        stages = [Stage(0.99, 1.0), Stage(0.01, 1.0)]
        assert Schedule.divide(stages, 173, 6).ends == (168, 173)

    def test_strength_is_constant_over_equal_parts(self) -> None:
        schedule = Schedule.divide([Stage(1.0, 1.0, (1, 3, 5))], 300)
        assert [schedule.strength_at(i) for i in (0, 99, 100, 199, 200, 299, 300)] == [
            1,
            1,
            3,
            3,
            5,
            5,
            5,
        ]

    @given(
        shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=5),
        data=st.data(),
        length=st.integers(200, 100_000),
        budget=st.floats(0.3, 2),
        multiple=st.integers(1, 8),
    )
    def test_a_run_costs_its_budget(self, shares, data, length, budget, multiple) -> None:
        stages = [
            Stage(
                share / sum(shares),
                data.draw(st.floats(0.25, 1)),
                replay=data.draw(st.integers(1, 3)),
            )
            for share in shares
        ]
        total = real_length(stages, length, budget)
        schedule = Schedule.divide(stages, total, multiple)
        assert schedule.total == total
        assert all(end % multiple == 0 for end in schedule.ends[:-1])
        assert list(schedule.ends) == sorted(schedule.ends)
        dearest = max(stage.cost for stage in stages)
        slack = dearest * (1 + multiple * len(stages))
        assert schedule.cost_at(total) == pytest.approx(length * budget, abs=slack)
        spent = [schedule.compute_at(i) for i in range(0, total + 1, max(1, total // 50))]
        assert spent == sorted(spent) and spent[0] == 0
        assert schedule.compute_at(total) == pytest.approx(1)


class TestSettings:
    def test_a_list_of_dicts(self) -> None:
        found = read_stages(
            [
                dict(share=0.5, ratio=0.5, strength=[1, 2], batch=2, lr=1.4, replay=3, buffer=10),
                dict(share=0.5, ratio=1),
            ]
        )
        assert found == (Stage(0.5, 0.5, (1.0, 2.0), 2, 1.4, 3, 10), Stage(0.5, 1, (0.0,)))
        assert read_stages('detection') is MILD

    @pytest.mark.parametrize(
        ('stages', 'sentence'),
        [
            ('mild', "CurriculumHook.stages is 'mild'; allowed is 'efficienttrain' or"),
            ([], 'stages is \\[\\]; allowed is a list'),
            ([3], r'stages\[0\] is 3; allowed is a dict'),
            ([dict(share=0.5, ratio=0.5)], 'add up to 0.5; allowed'),
            (
                [dict(share=1, ratio=1.5)],
                r'stages\[0\].ratio is 1.5; allowed is a number in \(0, 1\]',
            ),
            ([dict(share=1)], r'stages\[0\].ratio is None'),
            ([dict(share=1, ratio=1, size=3)], "has the key is 'size'; allowed is one of share"),
            (
                [dict(share=1, ratio=1, strength=11)],
                'strength is 11; allowed is a number from 0 to 10',
            ),
            ([dict(share=1, ratio=1, batch=0)], 'batch is 0'),
            ([dict(share=1, ratio=1, lr=0)], 'lr is 0'),
            (
                [dict(share=1, ratio=1, replay=2)],
                'buffer is 0; allowed is .* at least 1 with replay',
            ),
        ],
    )
    def test_wrong_values_are_named(self, stages: object, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            read_stages(stages)
