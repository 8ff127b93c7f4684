"""Self-distillation: a fresh head trained on gold and on its teacher's confident spans."""
