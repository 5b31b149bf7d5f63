"""Tissues as relaxation times, and what the two sequences make of them.

Relaxation times at 1.5 T are near those of de Bazelaire et al., Radiology 230:652 (2004) and Stanisz et al.,
Magn Reson Med 54:507 (2005). Fat's T2 is the apparent one of a turbo spin echo (long, J-coupling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# name: T1 ms, T2 ms, proton density (0..1)
TISSUES: dict[str, tuple[float, float, float]] = {
    "fat": (290.0, 92.0, 0.95),
    "skin": (700.0, 40.0, 0.60),
    "muscle": (880.0, 32.0, 0.80),
    "marrow": (560.0, 60.0, 0.68),
    "bone": (700.0, 15.0, 0.12),
    "disc": (900.0, 75.0, 0.75),
    "cord": (850.0, 85.0, 0.75),
    "csf": (3600.0, 1300.0, 1.0),
    "lung": (1100.0, 40.0, 0.10),
    "liver": (590.0, 48.0, 0.80),
    "spleen": (1050.0, 80.0, 0.86),
    "cortex": (950.0, 92.0, 0.86),
    "medulla": (1350.0, 115.0, 0.90),
    "urine": (3000.0, 900.0, 0.98),
    "pancreas": (500.0, 58.0, 0.86),
    "blood": (1400.0, 190.0, 0.90),
    "bile": (1700.0, 700.0, 0.98),
    "gut wall": (900.0, 58.0, 0.82),
    "gut fluid": (2000.0, 270.0, 0.92),
    "chyme": (900.0, 130.0, 0.82),
    "stool": (620.0, 65.0, 0.60),
    "cyst fluid": (2900.0, 1000.0, 0.99),
    "cyst wall": (800.0, 38.0, 0.80),
    "nodule": (800.0, 80.0, 0.86),
    "gas": (1000.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class Protocol:
    """Sequence parameters of one patient's two scans.

    Parameters
    ----------
    tr_ms, flip_deg
        Repetition time and flip angle of the T1-weighted spoiled gradient echo.
    te_ms
        Effective echo time of the T2-weighted single-shot turbo spin echo.
    fat_t2
        What is left of fat's T2-weighted signal (1: no fat suppression).
    flow_t1, flow_t2
        What is left of flowing blood's signal (inflow or flow void).
    """

    tr_ms: float
    flip_deg: float
    te_ms: float
    fat_t2: float
    flow_t1: float
    flow_t2: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Protocol:
        """A plausible protocol; a third of the T2 scans is fat suppressed."""
        suppressed = rng.random() < 0.33
        return cls(
            tr_ms=rng.uniform(110, 180),
            flip_deg=rng.uniform(65, 80),
            te_ms=rng.uniform(58, 80),
            fat_t2=rng.uniform(0.15, 0.35) if suppressed else rng.uniform(0.8, 1.05),
            flow_t1=rng.uniform(0.55, 1.35),
            flow_t2=rng.uniform(0.08, 0.35),
        )


def spoiled_gradient_echo(t1_ms: float, density: float, tr_ms: float, flip_deg: float) -> float:
    """Steady-state signal PD sin(a) (1 - E1) / (1 - E1 cos(a)), E1 = exp(-TR/T1).

    Haase et al., J Magn Reson 67:258 (1986); the echo time is short against T2* and left out.
    """
    e1 = np.exp(-tr_ms / t1_ms)
    alpha = np.radians(flip_deg)
    return float(density * np.sin(alpha) * (1 - e1) / (1 - e1 * np.cos(alpha)))


def single_shot_spin_echo(t2_ms: float, density: float, te_ms: float) -> float:
    """PD exp(-TE/T2): a single-shot turbo spin echo has no repetition, so no T1 weighting."""
    return float(density * np.exp(-te_ms / t2_ms))


def signals(rng: np.random.Generator, protocol: Protocol) -> dict[str, tuple[float, float]]:
    """Per tissue the (T1-weighted, T2-weighted) signal, its parameters varied by about 10 % per patient."""
    table = {}
    for name, (t1, t2, density) in TISSUES.items():
        t1, t2, density = np.array([t1, t2, density]) * (1 + 0.1 * rng.uniform(-1, 1, 3) * [1, 1, 0.4])
        table[name] = (
            spoiled_gradient_echo(t1, density, protocol.tr_ms, protocol.flip_deg),
            single_shot_spin_echo(t2, density, protocol.te_ms),
        )
    table["fat"] = (table["fat"][0], table["fat"][1] * protocol.fat_t2)
    table["blood"] = (table["blood"][0] * protocol.flow_t1, table["blood"][1] * protocol.flow_t2)
    return table
