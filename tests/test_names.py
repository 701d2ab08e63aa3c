"""docs/names.md: every name of ours in its tables exists, and no name of theirs is missing."""

import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import neuroprune

TEXT = (Path(__file__).parents[1] / "docs" / "names.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"(npr|network|[A-Z]\w+)(\.\w+)+(\(\w+=\))?")
THEIRS = {
    "NeatapticTS": """
    configurePruning maybePrune pruneToSparsity getCurrentSparsity
    start end targetSparsity regrowFraction frequency method lastPruneIter
    PRUNING_METHOD_MAGNITUDE PRUNING_METHOD_SNIP MIN_REMAINING_CONNECTION_COUNT DEFAULT_PRUNE_FREQUENCY
    MIN_PROGRESS_FRACTION MAX_PROGRESS_FRACTION MAX_EVOLUTIONARY_TARGET_SPARSITY REGROW_ATTEMPT_MULTIPLIER
    ActivePruningConfig PruningMethod
    getPruningConfig shouldRunScheduledPrune getInitialConnectionBaseline buildScheduledTarget buildPruneSelection
    disconnectConnections resolvePruningMethod markPruneIteration markTopologyDirty
    maybeRunRegrowth buildRegrowthPlan executeRegrowthAttempts
    readInitialSparsityBaseline calculateSparsityFromBaseline
    normalizeEvolutionaryTargetSparsity getOrCaptureEvolutionaryBaseline buildEvolutionaryTarget
    buildEvolutionaryPruneSelection disconnectEvolutionaryConnections markEvolutionaryTopologyDirty
    evolutionPruning startGeneration interval rampGenerations adaptivePruning enabled metric tolerance adjustRate
    applyEvolutionPruning applyAdaptivePruning
    """,  # what its prune module exports, and the options of its schedules
    "AiDotNet": """
    IPruningStrategy ComputeImportanceScores CreateMask Create2to4Mask CreateNtoMMask ApplyPruning ToSparseFormat
    Name RequiresGradients IsStructured SupportedPatterns
    MagnitudePruningStrategy GradientPruningStrategy LotteryTicketPruningStrategy StructuredPruningStrategy
    StructurePruningType Neuron Filter Channel
    SparsityPattern Unstructured RowStructured ColumnStructured FilterStructured ChannelStructured BlockStructured
    Structured2to4 StructuredNtoM
    PruningConfig TargetSparsity Pattern SparsityN SparsityM GradualPruning PruningIterations InitialSparsity
    LayerWiseSparsity LayerSparsityTargets CategorySparsityTargets FineTuneAfterPruning FineTuningEpochs OutputFormat
    ApplyLayerAwarePruning
    IPruningMask PruningMask Shape GetSparsity Apply UpdateMask CombineWith GetMaskData GetKeptIndices GetPrunedIndices
    SparseFormat COO CSR CSC BSR DIA ELL
    SparseCompressionResult Format Values RowIndices ColumnIndices RowPointers ColumnPointers SparsityMask OriginalShape
    Sparsity GetCompressedSizeBytes SparsePruningCompression
    """,  # the interface, its classes, and what they take and return
    "sparselearning": """
    Masking add_module remove_weight remove_weight_partial_name remove_type step update_connections truncate_weights
    state_dict load_state_dict mask_dict masks apply_mask apply_mask_gradients reset_momentum
    optimizer prune_rate_decay density sparse_init dense_gradients prune_mode growth_mode redistribution_mode
    prune_threshold growth_threshold growth_increment increment tolerance
    gather_statistics calc_redistributed_densities adjusted_growth baseline_nonzero total_density
    CosineDecay T_max eta_min LinearDecay MagnitudePruneDecay T_start interval get_dr cumulative_sparsity
    get_erdos_renyi_dist is_kernel erdos_renyi_init random_init struct_random_init struct_erdos_renyi_init resume_init
    lottery_ticket_init
    erdos-renyi erdos-renyi-kernel random resume lottery-ticket lottery-ticket-dist struct-random struct-erdos-renyi
    struct-erdos-renyi-kernel
    magnitude_prune global_magnitude_prune struct_magnitude_prune criterion magnitude global-magnitude struct-magnitude
    abs_grad_growth momentum_growth random_growth no_growth struct_abs_grad_growth absolute-gradient momentum none
    struct-absolute-gradient momentum_redistribution grad_redistribution nonzero_redistribution
    """,  # what a script takes, and the functions and names of its registries
    "aprender": """
    Importance compute name requires_calibration ImportanceScores values stats method shape len is_empty
    ImportanceStats min max mean std sparsity_at_threshold sparsity_at NormType L1 L2
    MagnitudeImportance l1 l2 with_norm WandaImportance with_pattern with_eps
    SparseGPTImportance block_size with_damp with_relative_damp compute_hessian compute_hessian_inverse compute_saliency
    compute_from_activations PruningError
    ActivationStats input_norms squared_mean count update CalibrationContext add_layer_stats get_stats get_stats_mut
    require_stats has_stats layer_names increment_samples
    SparsityPattern Unstructured NM Block Row Column is_valid theoretical_sparsity validate
    SparsityMask dense sparsity pattern tensor nnz num_zeros apply
    generate_unstructured_mask generate_nm_mask generate_block_mask generate_row_mask generate_column_mask
    Pruner generate_mask apply_mask importance MagnitudePruner WandaPruner prune_module
    PruningResult achieved_sparsity parameters_pruned total_parameters layer_sparsity memory_savings_bytes
    compression_ratio
    SparseFormat SparseTensor CSRTensor get matvec memory_bytes memory_savings_ratio COOTensor push to_csr
    BlockSparseTensor to_dense sparsify
    LotteryTicketPruner LotteryTicketConfig RewindStrategy WinningTicket
    DepthPruner BlockImportanceScores DepthPruningResult WidthPruner ChannelImportance WidthPruningResult
    DependencyGraph GraphNode GraphEdge NodeType DependencyType PruningPlan propagate_channel_pruning
    """,
}


def rows(library=None):
    """(theirs, ours, difference) of every row of every table, or of those under the heading of a library."""
    text = TEXT if library is None else TEXT.split(f"\n## {library}\n")[1].split("\n## ")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line.startswith("|") and cells[0] != "theirs" and not set(cells[0]) <= {"-"}:
            yield cells


def exists(name):
    """Whether a dotted name, with `(option=)` after a function, leads to something of the library."""
    path, _, option = name.partition("(")
    found = neuroprune
    for attribute in path.removeprefix("npr.").split("."):
        if hasattr(found, "__path__") and importlib.util.find_spec(f"{found.__name__}.{attribute}"):
            importlib.import_module(f"{found.__name__}.{attribute}")
        fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else ()
        if attribute in fields:
            return True
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return not option or option.removesuffix("=)") in inspect.signature(found).parameters


OURS = [(name, "not yet" in ours) for _, ours, _ in rows() for name in CODE.findall(ours) if NAME.fullmatch(name)]


def test_the_tables_are_read():
    assert len(list(rows())) > 160 and all(len(row) == 3 for row in rows())
    assert sum(len(list(rows(library))) for library in THEIRS) == len(list(rows()))  # no table is outside
    assert len([name for name, later in OURS if not later]) > 50


@pytest.mark.parametrize("name", sorted({name for name, later in OURS if not later}))
def test_names_of_ours_exist(name):
    if name.startswith("npr.tensors.torch."):
        pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    assert exists(name), f"docs/names.md names {name}, which does not exist"


def test_what_comes_later_is_marked_only_as_long_as_it_is_missing():
    assert not [name for name, later in OURS if later and exists(name)], "take the mark 'not yet' away"


def test_names_in_the_remarks_exist():
    remarks = [name for _, _, difference in rows() for name in CODE.findall(difference) if name.startswith("npr.")]
    assert remarks and all(map(exists, remarks))


@pytest.mark.parametrize("library", THEIRS)
def test_no_name_of_theirs_is_missing(library):
    cells = [code for theirs, _, _ in rows(library) for code in CODE.findall(theirs)]
    named = {*cells, *(word for code in cells for word in re.findall(r"\w+", code))}
    assert not [name for name in THEIRS[library].split() if name not in named]


def test_every_row_says_something_of_ours():
    for theirs, ours, difference in rows():
        assert CODE.search(ours) or ours.startswith("none: "), theirs
        assert not ours.startswith("none") or ours.startswith("none: "), theirs
        assert ours or difference


def test_the_check_can_fail():
    assert exists("npr.PruningSchedule") and exists("PruningSchedule.start") and exists("Network.regrow(weight=)")
    assert not any(map(exists, ("npr.Prunings", "Network.prune", "PruningSchedule.begin", "Network.regrow(weights=)")))
    assert not exists("network.prunes.X") and not exists("network.prune.MAX")
