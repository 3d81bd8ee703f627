//! A city that lives: checkout, kitchens, drivers and their phones.
