"""Names and numbers that are needed where torch is not."""

ESTIMATORS = ('all_pairs', 'half_split')
AVERAGES = ('moments', 'scale')
NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
