// What is one of several kinds, held in a variant, by the kind.
#pragma once
#include <utility>
#include <variant>

namespace kroton {

// Calls the handler for what the variant holds, or for what it points to. There is one for each
// kind, or it does not compile.
template <class Variant, class... Handlers>
decltype(auto) visit_kind(const Variant& variant, Handlers... handlers) {
  struct All : Handlers... {
    using Handlers::operator()...;
  };
  return std::visit(
      [all = All{std::move(handlers)...}](const auto& what) mutable -> decltype(auto) {
        if constexpr (requires { *what; }) {
          return all(*what);
        } else {
          return all(what);
        }
      },
      variant);
}

}  // namespace kroton
