//! What holds for every Pod (G13, G14, G23, F14, T10).
