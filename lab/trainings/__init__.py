"""Many short trainings on one machine, and the search for a learning rate that each method gets."""
