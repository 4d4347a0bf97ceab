"""What a study is: a small YAML or JSON file of models, lenses and items."""
