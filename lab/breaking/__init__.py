"""The package broken in one place at a time, in copies of the checkout: do the tests notice?"""
