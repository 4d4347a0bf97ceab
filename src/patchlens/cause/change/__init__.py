"""Any interventions on one question, together, beside as many random ones of the same sort."""
