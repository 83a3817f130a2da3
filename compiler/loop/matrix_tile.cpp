#include "compiler/loop/matrix_tile.h"

#include <bit>
#include <cmath>

namespace kroton::loop {

Expr place_in_tile(const TileLines& lines, const Expr& line, const Expr& at) {
  const Exchange exchange = exchange_of(lines);
  const Expr together = integer(lines.together);
  const Expr by =
      binary(Op::mod,
             binary(Op::floor_div, line, integer(exchange.lines_alike)) * integer(exchange.factor),
             integer(exchange.count));
  const Expr piece = binary(Op::bit_xor, binary(Op::floor_div, at, together), by);
  return line * integer(lines.width) + piece * together + binary(Op::mod, at, together);
}

double multiplied(double value, DType dtype) {
  if (is_only_stored(dtype) || !std::isfinite(value)) return value;
  constexpr std::uint32_t dropped = 13;
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return std::bit_cast<float>((bits + (1U << (dropped - 1))) >> dropped << dropped);
}

}  // namespace kroton::loop
