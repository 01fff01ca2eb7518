//! Probelet's webhook: admission (inject, validate, bind), its own certificates, and the cold path that is nobody's hot path.
