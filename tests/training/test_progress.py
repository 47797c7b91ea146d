"""A progress bar on terminals, lines in files."""

import sys

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gogooku3.training.progress import EpochBar, EpochLines, progress_display, snapshot_progress


class OneNumber(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor) -> Tensor:
        loss = (self.number - batch).square().mean()
        self.log("train/loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_an_epoch_prints_one_line_with_its_scores(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[EpochLines()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(OneNumber(), DataLoader(torch.full((4, 1), 3.0)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split(": ")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert lines[1].endswith(" s, train/loss 9")


@pytest.mark.parametrize(("terminal", "kind"), [(True, EpochBar), (False, EpochLines)])
def test_terminals_get_a_bar_and_files_get_lines(
    terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert type(progress_display()) is kind


@pytest.mark.parametrize("shown", [True, False])
def test_the_snapshot_prints_one_line_where_asked(shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with snapshot_progress(shown) as report:
        report(1, 2)
        report(2, 2)
    assert capsys.readouterr().err == ("snapshot: 0 s\n" if shown else "")
