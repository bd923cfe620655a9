"""The residual force f_a: samples from logs, features, models, training and judgement."""
