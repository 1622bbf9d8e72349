// Owners of what C libraries hand out.
#pragma once

namespace bascule {

/// For std::unique_ptr: frees by that function.
template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};

}  // namespace bascule
