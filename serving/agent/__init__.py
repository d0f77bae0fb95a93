"""The parent process of the engine in its pod: owns the admin port, tells the model's real state, ends it well."""
