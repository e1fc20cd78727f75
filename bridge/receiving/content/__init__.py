"""Bodies into values of JSON's types: JSON, forms, XML, CloudEvents."""
