//! Binds contracts to the runtime.
