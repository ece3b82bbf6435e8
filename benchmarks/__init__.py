"""Commands that measure this code beside baselines."""
