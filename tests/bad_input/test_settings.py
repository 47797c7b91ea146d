"""Unusable configurations, overrides and options."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bad_input.harness import Case, refuse, table


def config(content: bytes | str, name: str = "mine.yaml") -> Callable[[Path], Sequence[object]]:
    """`train` with a configuration file of this content."""

    def make(folder: Path) -> Sequence[object]:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return "train", "--config", folder / name

    return make


def override(*arguments: object) -> Callable[[Path], Sequence[object]]:
    """`train` with these arguments."""
    return lambda folder: ("train", *arguments)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)

FILES = [
    Case("no file", override("--config", "nowhere.yaml"), ("nowhere.yaml", "model/atft/train")),
    Case(
        "a near name",
        override("--config", "model/atft/trian"),
        ("model/atft/trian", "did you mean 'model/atft/train'"),
    ),
    Case("a folder", lambda f: ("train", "--config", f), ("no configuration",)),
    Case("this folder", override("--config", "."), ("no configuration '.'",)),
    Case("no name", override("--config", ""), ("no configuration ''",)),
    Case("no YAML", config("model: [1, 2"), ("mine.yaml",)),
    Case("a tab for a blank", config("model:\n\thidden_dim: 64\n"), ("mine.yaml", "line 2")),
    Case("no UTF-8", config("model: {name: 'é'}\n".encode("latin-1")), ("mine.yaml", "UTF-8")),
    Case("zero bytes", config(bytes(50)), ("mine.yaml",)),
    Case("a picture", config(b"\x89PNG\r\n\x1a\n" + bytes(range(256))), ("mine.yaml",)),
    Case("a Parquet file", config(b"PAR1" + bytes(range(256)) + b"PAR1"), ("mine.yaml",)),
    Case("a list", config("- model\n- training\n"), ("mine.yaml",)),
    Case("a text", config("hello\n"), ("mine.yaml",)),
    Case("a number", config("42\n"), ("mine.yaml",)),
    Case("two documents", config("model: {}\n---\ntraining: {}\n"), ("mine.yaml",)),
    Case("a key twice", config("model:\n  hidden_dim: 64\n  hidden_dim: 32\n"), ("mine.yaml", "hidden_dim")),
    Case(
        "an object tag",
        config("model: !!python/object/apply:os.system ['touch pwned']\n"),
        ("mine.yaml", "python/object"),
    ),
    Case("a name tag", config("model: !!python/name:os.system\n"), ("mine.yaml", "python/name")),
    Case("a tuple tag", config("model: !!python/tuple [1, 2]\n"), ("mine.yaml", "python/tuple")),
    Case("an unknown tag", config("model: !mine {a: 1}\n"), ("mine.yaml", "!mine")),
    Case("a bomb of anchors", config(BOMB), ("mine.yaml",)),
    Case("an anchor in itself", config("model: &a [*a]\n"), ("mine.yaml",)),
    Case("a value of the environment", config("dataset: {name: '${oc.env:HOME}'}\n"), ("oc.env",)),
    Case("a decoded value", config("dataset: {name: '${oc.decode:\"1\"}'}\n"), ("oc.decode",)),
    Case("an unknown resolver", config("dataset: {name: '${evil:1}'}\n"), ("evil",)),
    Case("a missing reference", config("dataset: {name: '${model.nme}'}\n"), ("model.nme",)),
    Case("a circle of references", config("dataset: {name: '${dataset.name}'}\n"), ("dataset.name",)),
    Case("an object to build", config("model:\n  _target_: os.system\n  command: ls\n"), ("model._target_",)),
    Case("unknown defaults", config("defaults:\n  - /model/atft/nowhere\n"), ("model/atft/nowhere",)),
    Case("defaults outside", config("defaults:\n  - ../../../etc/passwd\n"), ("etc/passwd",)),
    Case("Hydra's own settings", config("hydra:\n  run: {dir: /}\nmodel: {}\n"), ("hydra",)),
    Case(
        "a setting of another version",
        config("model:\n  patch_size: 4\n"),
        ("model.patch_size", "hidden_dim"),
    ),
    Case("a nested null", config("model:\n"), ("model", "null")),
    Case("a group as text", config("model: big\n"), ("model", "'big'")),
    Case("keys that are no text", config("1: 2\n"), ("'1'",)),
    Case("deep nesting", config("a: " + "[" * 3000 + "]" * 3000 + "\n"), ("mine.yaml",)),
]

VALUES = [
    Case("an unknown group", override("modle.hidden_dim=64"), ("modle",)),
    Case("an unknown key", override("model.hiden_dim=64"), ("model.hiden_dim", "hidden_dim")),
    Case("a text for a number", override("model.hidden_dim=big"), ("model.hidden_dim", "'big'", "256")),
    Case("a fraction for a whole number", override("training.epochs=1.5"), ("training.epochs", "1.5")),
    Case("a negative number of epochs", override("training.epochs=-1"), ("training.epochs", "-1", "50")),
    Case("no epochs", override("--epochs", "0"), ("training.epochs", "0")),
    Case("not a number", override("training.learning_rate=nan"), ("training.learning_rate", "nan")),
    Case("an infinity", override("training.learning_rate=inf"), ("training.learning_rate", "inf")),
    Case("a huge number", override("model.hidden_dim=" + "9" * 400), ("model.hidden_dim",)),
    Case("a width beyond memory", override("model.hidden_dim=80000000"), ("model.hidden_dim",)),
    Case("true for a number", override("model.num_heads=true"), ("model.num_heads", "true")),
    Case("null for a number", override("model.num_heads=null"), ("model.num_heads", "null")),
    Case("a list for a number", override("model.num_heads=[1,2]"), ("model.num_heads", "[1, 2]")),
    Case("a number for a list", override("model.prediction_horizons=5"), ("model.prediction_horizons", "5")),
    Case(
        "horizons out of order",
        override("model.prediction_horizons=[5,1]"),
        ("model.prediction_horizons", "[5, 1]"),
    ),
    Case("a horizon of no day", override("model.prediction_horizons=[0]"), ("model.prediction_horizons",)),
    Case("horizons that differ", override("model.prediction_horizons=[1,5]"), ("[1, 5]", "[1, 5, 10, 20]")),
    Case("no heads that fit", override("model.num_heads=7"), ("256", "7", "252")),
    Case("an embargo too short", override("split.embargo_days=5"), ("split.embargo_days", "5", "20")),
    Case("no folds", override("split.n_splits=0"), ("split.n_splits", "0")),
    Case(
        "batch norm", override("normalization.batch_norm.enabled=true"), ("normalization.batch_norm.enabled",)
    ),
    Case("a dropout of all", override("model.dropout=1.0"), ("model.dropout", "1.0")),
    Case("a day that isn't", override("dataset.start_date=2023-02-29"), ("dataset.start_date", "2023-02-29")),
    Case(
        "days turned round",
        override("dataset.start_date=2024-01-02", "dataset.end_date=2024-01-01"),
        ("2024-01-02", "2024-01-01"),
    ),
    Case("an unknown monitor", override("early_stopping.monitor=val/luck"), ("val/luck", "val/loss")),
    Case("an unknown device", override("training.accelerator=tpu"), ("training.accelerator", "tpu")),
    Case("no equals sign", override("model.hidden_dim"), ("model.hidden_dim", "key=value")),
    Case("an equals sign only", override("=5"), ("=5", "key=value")),
    Case("two equals signs", override("model.hidden_dim==5"), ("model.hidden_dim",)),
    Case("a brace left open", override("loss.horizon_weights={1: 2"), ("loss.horizon_weights", "key=value")),
    Case("a sweep", override("model.hidden_dim=1,2"), ("model.hidden_dim=1,2",)),
    Case("a deletion", override("~model.hidden_dim"), ("~model.hidden_dim",)),
    Case("an appended key", override("+model.extra=1"), ("model.extra",)),
    Case("a function call", override("model.hidden_dim=glob(*)"), ("model.hidden_dim=glob(*)",)),
    Case("a Hydra setting", override("hydra.run.dir=/"), ("hydra",)),
    Case("an interpolation of the environment", override("dataset.name=${oc.env:HOME}"), ("oc.env",)),
    Case("an unknown interpolation", override("dataset.name=${nowhere}"), ("nowhere",)),
    Case("a key within a value", override("model.hidden_dim.deep=1"), ("model.hidden_dim",)),
    Case("an index", override("model.prediction_horizons[0]=1"), ("model.prediction_horizons[0]",)),
    Case("nonsense", override("%$#@!"), ("%$#@!", "key=value")),
    Case("an empty override", override(""), ("key=value",)),
    Case("an empty path", override("dataset.data_path=''"), ("dataset.data_path", "''")),
    Case("words for epochs", override("--epochs", "many"), ("--epochs", "many")),
    Case("words for memory", override("--memory-limit", "8GB"), ("--memory-limit", "8GB")),
    Case("endless memory", override("--memory-limit", "inf"), ("memory_limit_gb", "inf")),
    Case("no memory", override("--memory-limit", "-8"), ("memory_limit_gb", "-8")),
    Case("an unknown option", override("--epoch", "3"), ("--epoch",)),
    Case("an unknown command", lambda f: ("trian",), ("trian", "train")),
    Case("an option without value", override("--epochs"), ("--epochs",)),
    Case("arguments for the demo", lambda f: ("demo", "--epochs", "2"), ("--epochs",)),
]


@table(FILES + VALUES)
def test_unusable_settings_are_refused_with_advice(case: Case, tmp_path: Path) -> None:
    refuse(case, tmp_path)
