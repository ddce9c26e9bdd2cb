"""Which model is Production and why: the gate's decision, the MLflow registry, promotion, the ledger, sync."""
