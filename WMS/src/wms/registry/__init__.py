"""Decisions about models: gate, promotion, ledger, sync."""
