"""All fusion metrics by name: what to call, what it measures, its range and which way is better."""

from __future__ import annotations

from typing import Callable, NamedTuple

from two_stream_fusion.metrics import (
    chen_blum,
    chen_varshney,
    differences,
    entropy,
    feature_information,
    image_statistics,
    information,
    learned,
    local_similarity,
    mef_ssim,
    mutual_information,
    phase_congruency,
    piella,
    visual_information,
    xydeas,
)

PAPER, OTHER, VARIANT = "paper", "other", "variant"


class Metric(NamedTuple):
    """A fusion metric."""

    function: Callable[..., float]  # metric(a, b, fused) -> float
    title: str
    range: str  # for two sources
    group: str = OTHER  # PAPER: the columns of every table; VARIANT: another form of a metric of that name
    higher_is_better: bool = True


REGISTRY = {
    "IE": Metric(entropy.entropy, "information entropy", "0..8 bits", PAPER),
    "MI": Metric(mutual_information.mutual_information, "normalised mutual information", "0..2", PAPER),
    "Qabf": Metric(xydeas.qabf, "edges kept (Xydeas and Petrovic)", "0..0.9748", PAPER),
    "Q": Metric(piella.q, "local quality (Piella and Heijmans)", "-1..1", PAPER),
    "Qw": Metric(piella.qw, "Q weighted by saliency", "-1..1", PAPER),
    "Qe": Metric(piella.qe, "Qw times Qw of edges", "-1..1", PAPER),
    "CE": Metric(information.cross_entropy, "cross entropy", "about 0 bits and more", OTHER, False),
    "EI": Metric(image_statistics.edge_intensity, "edge intensity", "0 and more"),
    "EN": Metric(entropy.entropy, "entropy: IE under its other name", "0..8 bits"),
    "NMI": Metric(mutual_information.mutual_information, "MI under its other name", "0..2"),
    "FMI": Metric(feature_information.fmi, "mutual information of gradients", "0..1"),
    "Qcb": Metric(chen_blum.qcb, "local contrast kept (Chen and Blum)", "0..1"),
    "Qcv": Metric(
        chen_varshney.qcv, "visible difference (Chen and Varshney)", "0 and more", higher_is_better=False
    ),
    "Qc": Metric(local_similarity.qc, "similarity by covariance (Cvejic)", "-1..1"),
    "Qncie": Metric(information.nonlinear_correlation, "nonlinear correlation information", "0.8019..1"),
    "Qp": Metric(phase_congruency.qp, "phase congruency kept (Zhao)", "about 0..1"),
    "Qy": Metric(local_similarity.qy, "similarity with the nearer source (Yang)", "-1..1"),
    "SF": Metric(image_statistics.spatial_frequency, "spatial frequency", "0..361"),
    "SD": Metric(image_statistics.standard_deviation, "standard deviation", "0..127.5"),
    "TE": Metric(information.tsallis, "normalised Tsallis information", "0 and more"),
    "AG": Metric(image_statistics.average_gradient, "average gradient", "0 and more"),
    "VIF": Metric(visual_information.vif, "visual information fidelity, summed", "0 and more"),
    "VIFF": Metric(visual_information.viff, "visual information fidelity for fusion", "0 and more"),
    "SCD": Metric(differences.correlations_of_differences, "correlations of differences", "-2..2"),
    "MEF_SSIM": Metric(mef_ssim.mef_ssim, "similarity with the desired structure", "-1..1"),
    "PSNR_sources": Metric(differences.psnr_sources, "PSNR to the sources", "dB"),
    "SSIM_sources": Metric(differences.ssim_sources, "mean SSIM to the sources", "-1..1"),
    "MI_bits": Metric(mutual_information.mutual_information_bits, "MI in bits", "bits", VARIANT),
    "MI_nats": Metric(mutual_information.mutual_information_nats, "MI in nats", "nats", VARIANT),
    "Qabf_hong": Metric(xydeas.qabf_hong, "Qabf of Hong", "0..0.9754", VARIANT),
    "Qabf_2012": Metric(xydeas.qabf_2012, "Qabf of the toolbox of 2012", "0..0.9867", VARIANT),
    "Q_gaussian": Metric(piella.q_gaussian, "Q of the toolbox of 2012", "-1..1", VARIANT),
    "Qw_gaussian": Metric(piella.qw_gaussian, "Qw of the toolbox of 2012", "-1..1", VARIANT),
    "Qe_gaussian": Metric(piella.qe_gaussian, "Qe of the toolbox of 2012", "-1..1", VARIANT),
    "Qe_edge": Metric(piella.qe_edge, "Qw of edges", "-1..1", VARIANT),
    "FMI_pixel": Metric(feature_information.fmi_pixel, "FMI of gray levels", "0..1", VARIANT),
    "FMI_dct": Metric(feature_information.fmi_dct, "FMI of the cosine transform", "0..1", VARIANT),
    "Qc_2012": Metric(local_similarity.qc_2012, "Qc of the toolbox of 2012", "-1..1", VARIANT),
    "SF_mean": Metric(image_statistics.spatial_frequency_mean, "SF by mean differences", "0..361", VARIANT),
    "TE_2012": Metric(information.tsallis_2012, "TE of the toolbox of 2012", "0 and more", VARIANT),
    "TE_Cvejic": Metric(information.tsallis_cvejic, "Tsallis information, order 1.85", "0 and more", VARIANT),
    "MEF_MS_SSIM": Metric(mef_ssim.mef_ms_ssim, "MEF_SSIM on three scales", "0..1", VARIANT),
    "PSNR_VIFB": Metric(differences.psnr_vifb, "PSNR of the toolbox of VIFB", "dB", VARIANT),
}


def select_names(text: str) -> list[str]:
    """The metrics that a user names.

    Args:
        text: names of REGISTRY between commas; `paper` stands for the six of the paper, `all` for all but the
            variants. Names of learned.NAMES may stand among them.

    Returns:
        The names, each once, in the order of the text.

    Raises:
        ValueError: an unknown name, or none.
    """
    groups = {
        "paper": [name for name, metric in REGISTRY.items() if metric.group == PAPER],
        "all": [name for name, metric in REGISTRY.items() if metric.group != VARIANT],
    }
    names: list[str] = []
    for name in text.split(","):
        if name not in REGISTRY and name not in groups and name not in learned.NAMES:
            raise ValueError(f"{name!r} is not one of paper, all, {', '.join((*REGISTRY, *learned.NAMES))}")
        names += groups.get(name, [name])
    return list(dict.fromkeys(names))


def is_higher_better(name: str) -> bool:
    """Whether more of a column is better; of columns that are no fusion metric (PSNR, SSIM) too."""
    return REGISTRY[name].higher_is_better if name in REGISTRY else name not in learned.NAMES
