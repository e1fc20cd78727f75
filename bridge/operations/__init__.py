"""Operations: everything that an operator or a schedule does to the store."""
