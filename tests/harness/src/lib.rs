//! What the tests on the real stack share: endpoints, waiting, a TCP proxy.
