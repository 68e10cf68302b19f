"""Quality control in the service: which tests a datastream asks for, and the job that runs them after commits."""
