"""The pages: thin scripts that read metrics and draw them.

No number is computed here; `pipelines.metrics` declares each one.
"""

import pandas as pd

pd.options.mode.string_storage = "python"  # frames here are short: making an Arrow array takes longer than its texts
