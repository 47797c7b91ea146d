"""Composition, schemas, messages and the cross checks of the configuration."""

import shutil
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from gogooku3.config import RunConfig, load_config
from gogooku3.config.messages import dotted_names
from gogooku3.errors import ConfigError
from gogooku3.settings import shipped_configs

SHIPPED = sorted(file for file in shipped_configs().rglob("*.yaml") if file.stem != "quality")


def refusal(*overrides: str) -> str:
    """Error message of `train` with these overrides."""
    with pytest.raises(ConfigError) as caught:
        load_config("model/atft/train", overrides)
    return str(caught.value)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_file_is_a_valid_configuration(file: Path) -> None:
    assert isinstance(load_config(file), RunConfig)


def test_train_and_the_schemas_have_the_same_defaults() -> None:
    assert load_config("model/atft/train") == RunConfig()


def test_train_and_its_data_file_spell_every_setting() -> None:
    spelled: dict[str, object] = {}
    for name in ("model/atft/train.yaml", "data/jpx_safe.yaml"):
        spelled |= yaml.safe_load((shipped_configs() / name).read_text(encoding="utf-8"))
    del spelled["defaults"]

    def leaves(tree: object, prefix: str = "") -> list[str]:
        if not isinstance(tree, dict) or prefix == "loss.horizon_weights.":
            return [prefix[:-1]]
        return [name for key, value in tree.items() for name in leaves(value, f"{prefix}{key}.")]

    assert sorted(leaves(spelled)) == sorted(dotted_names(RunConfig))


def test_every_setting_is_described() -> None:
    def undescribed(schema: type, prefix: str = "") -> list[str]:
        names = []
        for name, field in schema.model_fields.items():  # type: ignore[attr-defined]
            if hasattr(field.annotation, "model_fields"):
                assert field.annotation.__doc__
                names += undescribed(field.annotation, f"{prefix}{name}.")
            elif not field.description:
                names.append(prefix + name)
        return names

    assert undescribed(RunConfig) == []


@pytest.mark.parametrize(
    "spelling",
    [
        "model/atft/train",
        "model/atft/train.yaml",
        "configs/model/atft/train.yaml",
        "configs/model/atft/train",
    ],
)
def test_a_shipped_name_is_found_from_any_folder(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(spelling) == RunConfig()


def test_an_existing_file_wins_over_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shipped_configs(), tmp_path / "configs")
    own = tmp_path / "configs" / "data" / "jpx_safe.yaml"
    own.write_text(own.read_text().replace("n_splits: 5", "n_splits: 3"))
    assert load_config("configs/model/atft/train.yaml").split.n_splits == 3
    assert load_config("model/atft/train").split.n_splits == 5


def test_a_users_file_in_any_folder_builds_on_a_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "it's, [odd] = $x"
    folder.mkdir()
    own = folder / "my run.yaml"
    own.write_text("defaults:\n  - /model/atft/quickstart\nmodel:\n  hidden_dim: 16\n")
    assert load_config(own) == load_config("model/atft/quickstart", ["model.hidden_dim=16"])


def test_names_are_looked_up_in_another_folder_on_request(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("defaults: [/other]\nmodel: {hidden_dim: 64}\n")
    (tmp_path / "other.yaml").write_text("split: {n_splits: 4}\n")
    config = load_config("small", configs_dir=tmp_path)
    assert (config.model.hidden_dim, config.split.n_splits) == (64, 4)


def test_loading_leaves_no_global_state() -> None:
    load_config("model/atft/train")
    refusal("model.hidden_dim=x")
    assert not GlobalHydra.instance().is_initialized()


def test_overrides_reach_every_kind_of_value() -> None:
    config = load_config(
        "model/atft/train",
        [
            "model.hidden_dim=64",
            "training.learning_rate=1e-4",
            "graph.enabled=false",
            "loss.horizon_weights.5=0.9",
            "dataset.start_date=2013-01-02",
            "dataset.feature_columns=[a,b]",
            "dataset.target_columns={1:r1,5:r5,10:r10,20:r20}",
            "dataset.data_path='my data/x=1.parquet'",
        ],
    )
    assert config.model.hidden_dim == 64
    assert config.training.learning_rate == pytest.approx(1e-4)
    assert config.graph.enabled is False
    assert config.loss.horizon_weights == {1: 1.0, 5: 0.9, 10: 0.5, 20: 0.5}
    assert str(config.dataset.start_date) == "2013-01-02"
    assert config.dataset.feature_columns == ("a", "b")
    assert config.dataset.target_columns == {1: "r1", 5: "r5", 10: "r10", 20: "r20"}
    assert config.dataset.data_path == Path("my data/x=1.parquet")


def test_an_override_replaces_a_whole_mapping() -> None:
    config = load_config(
        "model/atft/train",
        [
            "model.prediction_horizons=[1,5]",
            "time_series.prediction_horizons=[1,5]",
            "loss.horizon_weights={1:1.0,5:0.5}",
        ],
    )
    assert config.loss.horizon_weights == {1: 1.0, 5: 0.5}


def test_the_horizons_are_set_once() -> None:
    only_5 = load_config("model/atft/train", ["time_series.prediction_horizons=[5]"])
    assert (only_5.time_series.prediction_horizons, only_5.model.prediction_horizons) == ((5,), None)
    equal = ["time_series.prediction_horizons=[5]", "model.prediction_horizons=[5]"]
    assert load_config("model/atft/train", equal).model.prediction_horizons == (5,)
    message = refusal("time_series.prediction_horizons=[5]", "model.prediction_horizons=[1]")
    assert "model.prediction_horizons [1] and time_series.prediction_horizons [5] differ" in message


@pytest.mark.parametrize("name", ["model/atft/compact", "model/atft/quickstart"])
def test_a_small_networks_learning_rate_falls_until_its_last_epoch(name: str) -> None:
    assert load_config(name).scheduler.T_max is None
    assert load_config("model/atft/train").scheduler.T_max == 50


def test_seeds_averages_and_the_correlation_are_set_from_the_command_line() -> None:
    config = load_config(
        "model/atft/train",
        [
            "training.seeds=[0,1,2]",
            "training.ema_decay=0.999",
            "loss.correlation_weight=0.5",
            "early_stopping.monitor=val/rank_ic",
            "model.use_regime=false",
        ],
    )
    assert config.training.seeds == (0, 1, 2)
    assert (config.training.ema_decay, config.loss.correlation_weight) == (0.999, 0.5)
    assert config.early_stopping.monitor == "val/rank_ic"
    assert config.model.use_regime is False
    assert RunConfig().training.seeds is None
    assert load_config("model/atft/train", ["training.seeds=null"]) == RunConfig()
    assert RunConfig.from_mapping(yaml.safe_load(config.to_yaml())) == config


def test_an_override_may_refer_to_another_setting() -> None:
    config = load_config(
        "model/atft/train", ["scheduler.T_max=${training.epochs}"], values={"training.epochs": 3}
    )
    assert config.scheduler.T_max == 3


def test_values_come_after_overrides_and_need_no_quoting() -> None:
    config = load_config(
        "model/atft/train",
        ["training.epochs=3", "dataset.data_path=a.parquet"],
        values={"training.epochs": 2, "dataset.data_path": Path("it's, odd=.parquet")},
    )
    assert config.training.epochs == 2
    assert config.dataset.data_path == Path("it's, odd=.parquet")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.hiden_dim=64",
            "unknown setting 'model.hiden_dim'; did you mean 'hidden_dim'? model has: input_dim, ",
        ),
        (
            "embargo_days=30",
            "unknown setting 'embargo_days'; did you mean 'split.embargo_days'? the groups are: ",
        ),
        ("modle.hidden_dim=64", "unknown setting 'modle'; did you mean 'model'?"),
        ("zzz.qqq=1", "unknown setting 'zzz'; the groups are: model, snapshot, training, "),
        (
            "model.hidden_dim=wide",
            "model.hidden_dim: expected a whole number, came 'wide'; the default is 256",
        ),
        (
            "model.hidden_dim='64'",
            "model.hidden_dim: expected a whole number, came '64'; write the number without",
        ),
        ("model.hidden_dim=0", "model.hidden_dim: expected a number above 0, came 0; the default is 256"),
        ("model.hidden_dim=8.0", "model.hidden_dim: expected a whole number, came 8.0; write 8"),
        ("model.hidden_dim=true", "model.hidden_dim: expected a whole number, came true"),
        ("training.learning_rate=nan", "training.learning_rate: expected a "),
        ("graph.correlation_window=2", "graph.correlation_window: expected a number from 3 up, came 2"),
        ("normalization.cross_sectional.robust_clip=1.0", "expected a number above 1.0, came 1.0"),
        ("training.mixed_precision=yes", "expected true or false, came 'yes'; write true"),
        (
            "scheduler.type=cosine",
            "scheduler.type: expected 'cosine_annealing' or 'one_cycle', came 'cosine'",
        ),
        ("dataset.start_date=2013-1-2", "dataset.start_date: expected a day as YYYY-MM-DD, came '2013-1-2'"),
        ("dataset.start_date=20130102", "dataset.start_date: expected a day as YYYY-MM-DD, came 20130102"),
        ("model.prediction_horizons=[5,1]", "expected different horizons in ascending order, came [5, 1]"),
        ("training.seeds=[]", "training.seeds: expected at least one seed, each once, came []"),
        ("training.seeds=[1,1]", "training.seeds: expected at least one seed, each once, came [1, 1]"),
        ("training.seeds=[-1]", "training.seeds"),
        ("training.ema_decay=1.0", "training.ema_decay: expected a number below 1.0, came 1.0"),
        ("loss.correlation_weight=-1", "loss.correlation_weight: expected a number from 0.0 up, came -1"),
        ("early_stopping.monitor=val/icc", "did you mean 'val/ic'? there are val/loss, "),
        ("loss=null", "loss: expected a group of settings, came null"),
        ("model.prediction_horizons=5", "model.prediction_horizons: expected a list such as [1, 5], came 5"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_expected_value_and_advice(override: str, message: str) -> None:
    refused = refusal(override)
    assert message in refused
    assert "\n" not in refused


def test_a_folder_without_configurations_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"the names are none: no YAML file in {tmp_path}; set GOGOOKU3_CONF"
    ):
        load_config("model/atft/train", configs_dir=tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["split.embargo_days=5"],
            "split.embargo_days is 5 trading days but the longest horizon is 20; raise it",
        ),
        (
            ["model.hidden_dim=65"],
            "model.hidden_dim is 65 but must be a multiple of model.num_heads (8); try 64 or",
        ),
        (["model.prediction_horizons=[1,5]"], "and time_series.prediction_horizons [1, 5, 10, 20] differ"),
        (
            ["time_series.prediction_horizons=[3,5]"],
            "loss.horizon_weights has no weight for the horizons 3",
        ),
        (["loss.horizon_weights.7=1.0"], "loss.horizon_weights has weights for the horizons 7"),
        (["dataset.target_columns={1:a}"], "dataset.target_columns names the horizons 1 but"),
        (["normalization.batch_norm.enabled=true"], "batch norm mixes the statistics of different days"),
        (["time_series.use_tensor_sequences=false"], "windows are cut from the panel"),
        (["time_series.drop_historical_columns=false"], "windows are cut from the panel"),
        (["early_stopping.monitor=val/rank_ic_3d"], "did you mean 'val/rank_ic_5d'? there are val/loss, "),
        (
            ["graph.min_edges_per_node=11"],
            "graph.min_edges_per_node is 11, above graph.max_edges_per_node (10)",
        ),
        (
            ["dataset.start_date=2014-01-01", "dataset.end_date=2013-01-01"],
            "dataset.start_date (2014-01-01) is after dataset.end_date (2013-01-01)",
        ),
    ],
)
def test_contradicting_settings_are_refused(overrides: list[str], message: str) -> None:
    assert message in refusal(*overrides)


def test_all_problems_are_named_at_once() -> None:
    refused = refusal("model.hiden_dim=1", "training.epochs=0", "split.method=random", "graph.enabled=3")
    assert " has 4 problems:" in refused
    assert all(
        name in refused for name in ("model.hiden_dim", "training.epochs", "split.method", "graph.enabled")
    )


@pytest.mark.parametrize("override", ["foo", "~model.dropout", "model.hidden_dim=64,128", "model.hidden_dim"])
def test_an_override_without_a_single_value_is_refused_with_an_example(override: str) -> None:
    assert "write group.key=value" in refusal(override)


def test_broken_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: {hidden_dim: 64\nsplit: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: .*line") as caught:
        load_config(broken)
    assert "\n" not in str(caught.value)


def test_a_missing_file_lists_the_shipped_names() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'model/atft/train'\? the names are data/jpx_safe, "):
        load_config("configs/model/atft/tarin.yaml")


def test_a_configuration_round_trips_through_yaml(tmp_path: Path) -> None:
    config = load_config("model/atft/train", ["dataset.start_date=2013-01-02", "dataset.feature_columns=[a]"])
    text = config.to_yaml()
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert load_config(file) == config
    assert RunConfig.from_mapping(yaml.safe_load(text)) == config
    assert RunConfig.from_mapping(config.model_dump(mode="json")) == config


def test_small_numbers_of_a_plain_yaml_parser_are_refused_with_their_spelling() -> None:
    with pytest.raises(ConfigError, match=r"1e-3 as 1\.0e-3 or 0\.001"):
        RunConfig.from_mapping(yaml.safe_load("training: {learning_rate: 1e-3}"))


def test_a_configuration_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().model.hidden_dim = 3  # type: ignore[misc]
