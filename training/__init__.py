"""Trainers of the generators that the explorer plays: WGAN-GP, for every family by one loop."""
