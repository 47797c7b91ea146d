"""A four-stock graph by hand: access, subsets, comparison."""

import datetime as dt

import numpy as np
import pytest

from gogooku3.errors import DataError
from gogooku3.graph.stock_graph import StockGraph


def hand_graph() -> StockGraph:
    """Edges B->A (0.9), C->A (-0.7), A->B (0.9), A->C (-0.7), B->C (0.5); D has none."""
    return StockGraph(
        codes=("A", "B", "C", "D"),
        neighbours=np.array([[1, 2], [0, 1], [0, 1], [3, 3]]),
        weights=np.array([[0.9, -0.7], [0.9, 0], [-0.7, 0.5], [0, 0]], dtype=np.float32),
        valid=np.array([[True, True], [True, False], [True, True], [False, False]]),
        as_of=dt.date(2024, 5, 31),
    )


def test_a_graph_works_like_a_mapping() -> None:
    graph = hand_graph()
    assert set(graph.keys()) == {"n_nodes", "n_edges", "edge_index", "edge_weight", "codes", "as_of"}
    assert "n_edges" in graph and "edges" not in graph
    assert dict(graph)["n_nodes"] == 4
    assert graph["n_edges"] == 5
    assert graph["codes"] == ("A", "B", "C", "D")
    assert graph["as_of"] == dt.date(2024, 5, 31)
    with pytest.raises(KeyError, match="n_nodes, n_edges, edge_index"):
        graph["edges"]


def test_edges_run_from_source_to_receiver_and_keep_their_sign() -> None:
    graph = hand_graph()
    assert graph["edge_index"].tolist() == [[1, 2, 0, 0, 1], [0, 0, 1, 2, 2]]
    assert graph["edge_index"].dtype == np.int64
    assert graph["edge_weight"].tolist() == pytest.approx([0.9, -0.7, 0.9, -0.7, 0.5])
    assert graph["edge_weight"].dtype == np.float32


def test_a_dense_row_holds_the_edges_that_a_stock_receives() -> None:
    expected = [[0, 0.9, -0.7, 0], [0.9, 0, 0, 0], [-0.7, 0.5, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(hand_graph().to_dense(), np.array(expected, dtype=np.float32))


def test_a_subset_keeps_the_edges_among_its_stocks_in_the_requested_order() -> None:
    cut = hand_graph().subset(["D", "C", "A"])
    assert cut.codes == ("D", "C", "A") and cut.as_of == dt.date(2024, 5, 31)
    assert cut.neighbours.tolist() == [[0, 0], [2, 1], [1, 2]]
    assert cut.weights.tolist() == [[0, 0], pytest.approx([-0.7, 0]), pytest.approx([-0.7, 0])]
    assert cut.valid.tolist() == [[False, False], [True, False], [True, False]]


def test_a_subset_moves_the_remaining_edges_before_the_padding() -> None:
    cut = hand_graph().subset(["A", "C"])
    assert cut.neighbours.tolist() == [[1, 0], [0, 1]]
    assert cut.valid.tolist() == [[True, False], [True, False]]


def test_a_subset_refuses_unknown_and_repeated_stocks() -> None:
    with pytest.raises(DataError, match=r"not in the graph: X; it has A, B, C, D"):
        hand_graph().subset(["A", "X"])
    with pytest.raises(DataError, match="repeated stock codes: A"):
        hand_graph().subset(["A", "A"])


def test_turnover_is_the_share_of_edges_replaced() -> None:
    graph = hand_graph()
    assert graph.edge_turnover(graph) == 0.0
    without_b = graph.subset(["A", "C", "D"])
    assert graph.edge_turnover(without_b) == pytest.approx(3 / 5)
    assert without_b.edge_turnover(graph) == pytest.approx(3 / 5)
    empty = graph.subset(["D"])
    assert graph.edge_turnover(empty) == 1.0 and empty.edge_turnover(empty) == 0.0


def test_turnover_compares_codes_not_positions() -> None:
    graph = hand_graph()
    assert graph.edge_turnover(graph.subset(["D", "B", "C", "A"])) == 0.0


def test_graphs_are_equal_if_every_bit_is() -> None:
    assert hand_graph() == hand_graph()
    other = hand_graph()
    other.weights[0, 0] = np.nextafter(np.float32(0.9), np.float32(1))
    assert hand_graph() != other
    assert hand_graph() != "a graph"


def test_arrays_of_different_shapes_are_refused() -> None:
    two = (np.zeros((2, 1), np.int64), np.zeros((2, 1), np.float32), np.zeros((2, 1), bool))
    with pytest.raises(DataError, match=r"must all be \[1 stocks, K\]"):
        StockGraph(("A",), *two, as_of=None)


def test_the_repr_has_size_and_date() -> None:
    assert repr(hand_graph()) == "StockGraph(n_nodes=4, n_edges=5, as_of=2024-05-31)"
