"""The Production version and its reasons: the gate's decision, the MLflow registry, promotion, the ledger, sync."""
