"""Small networks with random weights."""

import torch

from gogooku3.models.atft_gat_fan import ATFTGATFANModel


def random_network(std: float = 0.3, **changes: object) -> ATFTGATFANModel:
    """A network of 5 features and 8 steps, in evaluation mode; all weights are random, even neutral ones."""
    settings = {
        "input_dim": 5,
        "hidden_dim": 16,
        "num_heads": 2,
        "num_layers": 2,
        "prediction_horizons": [1, 5],
        "sequence_length": 8,
    }
    torch.manual_seed(1)
    model = ATFTGATFANModel(**{**settings, **changes})  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()
