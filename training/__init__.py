"""Trainers for the generators that the explorer plays, their vocoder and the judge: one training loop for all."""
