"""Proof, from a run folder alone, that a cross-validation did not leak; shares no code with what trains."""

from __future__ import annotations

from cadx.audit.audit import audit_run
from cadx.audit.report import AuditReport, Check

__all__ = ["AuditReport", "Check", "audit_run"]
