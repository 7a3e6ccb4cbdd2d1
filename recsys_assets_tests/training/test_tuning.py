"""The stored result of a search, and the space it must lie in. Not here: whether tuning helps."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys_assets.settings import TrainingSettings
from recsys_assets.training.cuts import Cuts
from recsys_assets.training.rows import build_rows
from recsys_assets.training.search_space import SPACE, OutsideSpace, validated
from recsys_assets.training.tuning import (
    NothingToTune,
    Tuned,
    TuningBroken,
    default_params,
    read_tuned,
    search,
    tuned_path,
    write_tuned,
)
from recsys_assets_tests.training.house import AS_OF, GATE, TRAINING, sources


def result(**params: float) -> Tuned:
    return Tuned(
        params={"learning_rate": 0.1, **params},
        value=0.4,
        default_value=0.3,
        trials=2,
        as_of=datetime(2024, 1, 1, tzinfo=UTC),
        table_versions={"training_rows": 1},
    )


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_tuned(tmp_path, result())
    assert read_tuned(tmp_path) == result()


def test_without_a_search_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) is None


@pytest.mark.parametrize("params", [{"learning_rate": 5.0}, {"objective": 1.0}])
def test_a_result_outside_the_space_is_refused(params: dict[str, float], tmp_path: Path) -> None:
    write_tuned(tmp_path, result(**params))
    with pytest.raises(TuningBroken, match="not in the search space"):
        read_tuned(tmp_path)


def test_a_half_written_result_is_refused(tmp_path: Path) -> None:
    write_tuned(tmp_path, result())
    tuned_path(tmp_path).write_text(tuned_path(tmp_path).read_text()[:20])
    with pytest.raises(TuningBroken, match=r"hyperparameters\.json"):
        read_tuned(tmp_path)


def test_the_packaged_defaults_lie_in_the_space() -> None:
    assert validated(default_params(TrainingSettings())).keys() == {parameter.name for parameter in SPACE}


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(OutsideSpace, match=r"learning_rate=9\.0, num_leaves=7\.5"):
        validated({"num_leaves": 7.5, "learning_rate": 9.0})


def test_the_same_rows_and_seed_give_the_same_search() -> None:
    cuts = Cuts.of(AS_OF, TRAINING, GATE)
    rows = build_rows(sources(), cuts, settings=TRAINING)
    one, two = (search(rows, cuts.holdout, settings=TRAINING, trials=2) for _ in range(2))
    assert [trial.value for trial in one.trials] == [trial.value for trial in two.trials]
    assert one.trials[0].params["learning_rate"] == TRAINING.learning_rate
    assert all(parameter.holds(trial.params[parameter.name]) for trial in one.trials for parameter in SPACE)


def test_one_cut_cannot_be_tuned_on() -> None:
    cuts = Cuts.of(AS_OF, TRAINING, GATE)
    rows = build_rows(sources(), cuts, settings=TRAINING)
    with pytest.raises(NothingToTune):
        search(rows, cuts.holdout[:1], settings=TRAINING, trials=1)
