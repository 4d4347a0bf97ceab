"""Many pictures, models and lenses as one result that can be queried: specs, runs that go on, reports."""
