"""The training room's assets: ranking rows, candidate index, tuned hyper-parameters and the registered ranker.

Here: reading and calling the room's pure files. Not here: arithmetic, metadata (report.py), judging the champion.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.platform import require_place_to_serve
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.resources.tracking import TrackedRun, TrackingResource, attempt_of
from recsys_assets.settings import Settings
from recsys_assets.training.provenance import (
    INDEX,
    ROW_CHECKS,
    ROWS,
    agreed_pins,
    pins_for,
    pins_metadata,
    pins_of,
    refusals,
    require_sound_rows,
    rows_version,
)

if TYPE_CHECKING:
    from recsys_assets.records import ModelVersion
    from recsys_assets.training.train import Trained

GROUP, LEARNED = "training", "training_feedback"
OWNERS = ["team:recommender"]
SOURCES = ["interactions", "items", "users", "user_features", "item_features"]
SCORE_CHECK = "scores_are_not_degenerate"


class RankerConfig(dg.Config):
    """`drill` plants a fault on purpose: corrupt_labels spoils the model, the others become faults of its server."""

    drill: Literal["none", "corrupt_labels", "slow", "failing", "crossed_users", "worse", "stale_features"] = "none"
    use_tuned: bool = True


class TuningConfig(dg.Config):
    """How many trials the search may take; 0 means as many as the settings say."""

    trials: int = 0


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """All assets of this room; their checks are made in the same step, on rows that are in memory anyway."""
    return [_training_rows(settings), _candidate_index(settings), _hyperparameters(settings), _ranker_model(settings)]


def build_jobs(settings: Settings) -> list[Any]:
    """`train`: rows, index and ranker in one run, without tuning."""
    chosen = dg.AssetSelection.assets(ROWS, INDEX, "ranker_model")
    return [dg.define_asset_job("train", selection=chosen, description="Train and register a challenger.")]


def _training_rows(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        deps=SOURCES,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"polars", "deltalake"},
        check_specs=[dg.AssetCheckSpec(name, asset=ROWS, blocking=True) for name in ROW_CHECKS],
    )
    @one_writer(settings, ROWS)
    def training_rows(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one candidate item of one user at one cut in time, labelled by what the user did after it.

        Grain: user, item, cut. Fresh as of the newest complete day: features know events before the cut, labels are
        events in [cut, cut + label_days). Reported feedback counts as events too, but for that on answers of a model
        that was rolled back; it is no upstream in the graph, which would be a circle, but its versions are pinned.
        """
        from recsys_assets.resources.gates import check_result
        from recsys_assets.training.cuts import Cuts
        from recsys_assets.training.evidence import count_rows, leak_evidence
        from recsys_assets.training.pins import require_rows
        from recsys_assets.training.probes import judge_leaks, judge_row_counts
        from recsys_assets.training.report import feedback_metadata, rows_metadata
        from recsys_assets.training.rows import build_rows

        require_place_to_serve(context, settings)
        training = settings.training
        with refusals():
            pins = pins_for(context, tables, sibling=INDEX, feedback=training.feedback.use)
            taken = pins.learned(tables, training)
            sources = pins.sources(tables, taken)
            require_rows(sources["interactions"], training)
        cuts = Cuts.of(pins.as_of, training, settings.gate)
        rows = build_rows(sources, cuts, settings=training)
        if taken is not None:
            pins = pins.with_table(LEARNED, tables.overwrite(LEARNED, taken.events))
        pins = pins.with_table(ROWS, tables.overwrite(ROWS, rows))
        named = rows_version(pins)
        verdicts = [
            judge_leaks(
                leak_evidence(rows, sources, settings=training), version=named, max_auc=training.max_single_feature_auc
            ),
            judge_row_counts(count_rows(rows, cuts), version=named, min_rows=training.min_rows),
        ]
        return dg.MaterializeResult(
            metadata=pins_metadata(pins) | rows_metadata(rows) | feedback_metadata(taken),
            check_results=[check_result(verdict) for verdict in verdicts],
        )

    return training_rows


def _candidate_index(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(deps=SOURCES, group_name=GROUP, owners=OWNERS, kinds={"numpy"})
    @one_writer(settings, INDEX)
    def candidate_index(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """What retrieval knows, as arrays: popularity, neighbours, latent factors and content of every item.

        One object for each of the two fits: as of the start of the test period, and as of the newest complete day.
        """
        from recsys_assets.recommender.index import CandidateIndex
        from recsys_assets.training.cuts import Cuts
        from recsys_assets.training.feedback import with_feedback
        from recsys_assets.training.index_store import index_folder, save_indexes
        from recsys_assets.training.report import index_metadata

        with refusals():
            pins = pins_for(context, tables, sibling=ROWS, feedback=settings.training.feedback.use)
        cuts = Cuts.of(pins.as_of, settings.training, settings.gate)
        taken = pins.learned(tables, settings.training)
        frames = with_feedback(pins.read(tables, "interactions"), taken), pins.read_optional(tables, "items")
        users = pins.read_optional(tables, "users")
        indexes = {
            name: CandidateIndex.build(*frames, as_of=moment, settings=settings.training, users=users)
            for name, moment in (("holdout", cuts.test_from), ("release", cuts.as_of))
        }
        folder = index_folder(settings.home, pins, settings.training)
        save_indexes(indexes, folder)
        return dg.MaterializeResult(metadata=pins_metadata(pins) | index_metadata(indexes["release"], folder))

    return candidate_index


def _hyperparameters(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(deps=[ROWS], group_name=GROUP, owners=OWNERS, kinds={"optuna"})
    @one_writer(settings, "hyperparameters")
    def hyperparameters(
        context: dg.AssetExecutionContext, config: TuningConfig, tables: TablesResource, tracking: TrackingResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """The best point of the search space on validation cuts in the order of time; the next ranker takes it up.

        One object. On demand: nothing asks for it by itself, and it stays good until it is searched again.
        """
        from recsys_assets.training.cuts import Cuts
        from recsys_assets.training.report import tuned_metadata
        from recsys_assets.training.tuning import search, tuned_of, write_tuned

        with refusals(), tracking.run(context) as run:
            pins = pins_of(context, ROWS)
            require_sound_rows(context, pins)
            cuts = Cuts.of(pins.as_of, settings.training, settings.gate)
            trials = config.trials or settings.training.tuning_trials
            study = search(pins.read(tables, ROWS), cuts.holdout, settings=settings.training, trials=trials)
            tuned = tuned_of(study, as_of=pins.as_of, table_versions=pins.tables)
            run.log_params(tuned.params)
            run.log_metrics({"ndcg_at_10": tuned.value, "default_ndcg_at_10": tuned.default_value})
            run.log_tables(pins.tables, tables.root)
        path = write_tuned(settings.home, tuned)
        return dg.MaterializeResult(metadata=pins_metadata(pins) | tuned_metadata(tuned, study, path))

    return hyperparameters


def _ranker_model(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[ROWS, INDEX],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"lightgbm", "mlflow"},
        check_specs=[dg.AssetCheckSpec(SCORE_CHECK, asset="ranker_model", blocking=True)],
    )
    def ranker_model(
        context: dg.AssetExecutionContext,
        config: RankerConfig,
        tables: TablesResource,
        registry: ModelRegistryResource,
        tracking: TrackingResource,
    ) -> Iterator[Any]:
        """A registered model version, the new challenger: two bundles made by one recipe.

        One object for each training. The holdout bundle knows nothing of the test period: the offline gate judges it.
        The release bundle, as of the newest complete day, is what gets deployed.
        """
        from recsys_assets.resources.gates import check_result
        from recsys_assets.training.train import DegenerateScores

        try:
            with refusals(), tracking.run(context) as run:
                model, trained, metadata = _train_and_register(context, config, tables, registry, run, settings)
        except DegenerateScores as degenerate:
            yield check_result(degenerate.verdict)
            raise dg.Failure(f"nothing was registered: {degenerate}", allow_retries=False) from degenerate
        yield dg.MaterializeResult(metadata=metadata)
        yield check_result(trained.verdict.model_copy(update={"model_version": model.version}))

    return ranker_model


def _train_and_register(
    context: dg.AssetExecutionContext,
    config: RankerConfig,
    tables: TablesResource,
    registry: ModelRegistryResource,
    run: TrackedRun,
    settings: Settings,
) -> "tuple[ModelVersion, Trained, dict[str, Any]]":
    from recsys_assets.bundle_store import open_bundles
    from recsys_assets.features.views import FEATURE_SERVICE
    from recsys_assets.training.cuts import Cuts
    from recsys_assets.training.fitting import Recipe
    from recsys_assets.training.index_store import index_folder, load_indexes
    from recsys_assets.training.publishing import Facts, publish
    from recsys_assets.training.report import model_metadata
    from recsys_assets.training.train import code_version, train
    from recsys_assets.training.tuning import default_params, read_tuned

    training = settings.training
    pins = agreed_pins(context)
    require_sound_rows(context, pins)
    cuts = Cuts.of(pins.as_of, training, settings.gate)
    tuned = read_tuned(settings.home) if config.use_tuned else None
    recipe = Recipe(
        params=tuned.params if tuned else default_params(training),
        seed=training.seed,
        seeds=training.seeds,
        negatives=training.negatives_per_list,
        corrupt_labels=config.drill == "corrupt_labels",
    )
    trained = train(
        pins.read(tables, ROWS),
        pins.sources(tables, pins.learned(tables, training)),
        load_indexes(index_folder(settings.home, pins, training)),
        cuts,
        recipe,
        settings=training,
        attempt=attempt_of(context),
    )
    facts = Facts(
        attempt=attempt_of(context),
        feature_service=FEATURE_SERVICE,
        table_versions=pins.tables,
        code_version=code_version(),
        as_of=pins.as_of,
        drill=None if config.drill == "none" else config.drill,
    )
    run.log_params({**recipe.params, "seed": recipe.seed, "seeds": recipe.seeds})
    run.log_tables(pins.tables, tables.root)
    run.log_points("ndcg_at_10", trained.curve)
    bundles = open_bundles(settings.stores) if settings.stores.bundles else None
    model = publish(trained.fitted, facts, home=settings.home, registry=registry, run=run, bundles=bundles)
    registry.set_alias("challenger", model.version)
    return model, trained, model_metadata(model, trained, tuned, registry, run, settings)
