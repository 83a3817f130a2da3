#include "compiler/contraction/library_product.h"

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;

class ProductMatcher {
 public:
  explicit ProductMatcher(const Contraction& contraction)
      : c_(contraction),
        row_(c_.rows.back().variable),
        column_(c_.columns.back().variable),
        inner_(c_.inner.back().variable) {
    if (!c_.batch.empty()) batch_ = c_.batch[0].variable;
  }

  std::shared_ptr<const LibraryProduct> run() {
    if (c_.batch.size() > 1 || c_.rows.size() > 1 || c_.columns.size() > 1 || c_.inner.size() > 1 ||
        c_.stores.size() != 1 || !is_float(c_.dtype)) {
      return nullptr;
    }
    LibraryProduct& p = product_;
    p.dtype = c_.dtype;
    p.rows = c_.rows[0].extent;
    p.columns = c_.columns[0].extent;
    p.inner = c_.inner[0].extent;
    p.batch = count(c_.batch);
    if (!operand(c_.a, row_, inner_, p.rows, p.inner, p.a) ||
        !operand(c_.b, inner_, column_, p.inner, p.columns, p.b)) {
      return nullptr;
    }
    if (p.a.buffer->dtype != p.b.buffer->dtype) return nullptr;
    const loop::Store& store = c_.stores[0];
    // Of 16 bits is the result only where it is rounded once: nothing is done to it before.
    const bool is_rounded = store.value->op == Op::cast && is_only_stored(store.value->dtype) &&
                            store.value->dtype == p.a.buffer->dtype;
    const Expr& stored = is_rounded ? store.value->args[0] : store.value;
    result_index_ = store.index;
    p.alpha = 0;
    if (stored->dtype != c_.dtype ||
        !matrix(store.buffer, store.index, row_, column_, p.rows, p.columns, p.result) ||
        p.result.transposed || !add(stored, 1) || p.alpha == 0 || (is_rounded && (p.c || p.bias))) {
      return nullptr;
    }
    return std::make_shared<const LibraryProduct>(p);
  }

 private:
  bool operand(const Expr& value, const loop::Variable& row, const loop::Variable& column,
               const Dim& rows, const Dim& columns, LibraryProduct::Matrix& found) const {
    if (value->op == Op::cast && is_only_stored(value->args[0]->dtype)) {
      return operand(value->args[0], row, column, rows, columns, found);
    }
    return value->op == Op::load && !loop::is_conditional(*value) &&
           info_of(value->buffer->dtype).computed_in == c_.dtype &&
           matrix(value->buffer, value->args[0], row, column, rows, columns, found);
  }

  // What one step of the variable adds to an index; nothing unless that is a size.
  static std::optional<Dim> stride(const Expr& index, const loop::Variable& variable) {
    const Expr step = loop::stride_of(index, variable);
    return step ? loop::as_dim(step) : std::nullopt;
  }

  // The index is 0 where these variables are, and depends on nothing else.
  static bool starts_at_zero(const Expr& index, const std::vector<loop::Variable>& variables) {
    std::vector<std::pair<loop::Variable, Expr>> zeros;
    for (const loop::Variable& v : variables) zeros.push_back({v, loop::integer(0)});
    std::int64_t start = 0;
    return loop::is_integer_constant(loop::substitute(index, zeros), start) && start == 0;
  }

  std::vector<loop::Variable> with_batch(std::vector<loop::Variable> variables) const {
    if (batch_) variables.push_back(*batch_);
    return variables;
  }

  bool matrix(const loop::BufferRef& buffer, const Expr& index, const loop::Variable& row,
              const loop::Variable& column, const Dim& rows, const Dim& columns,
              LibraryProduct::Matrix& found) const {
    const std::optional<Dim> down = stride(index, row);
    const std::optional<Dim> across = stride(index, column);
    const std::optional<Dim> to_next = batch_ ? stride(index, *batch_) : Dim(0);
    if (!down || !across || !to_next || !starts_at_zero(index, with_batch({row, column}))) {
      return false;
    }
    found.buffer = buffer;
    found.batch_stride = *to_next;
    found.transposed = !across->is_constant(1) && !columns.is_constant(1);
    if (found.transposed && !down->is_constant(1) && !rows.is_constant(1)) return false;
    found.leading = found.transposed ? *across : *down;
    // A single row has no next one.
    const Dim& along = found.transposed ? rows : columns;
    if ((found.transposed ? columns : rows).is_constant(1)) found.leading = along;
    return provably_at_least(found.leading, along);
  }

  // Adds scale * e to what is known of the stored value.
  bool add(const Expr& e, double scale) {
    LibraryProduct& p = product_;
    if (e->op == Op::variable && e->variable == c_.sum) {
      p.alpha += scale;
      return true;
    }
    switch (e->op) {
      case Op::add:
        return add(e->args[0], scale) && add(e->args[1], scale);
      case Op::sub:
        return add(e->args[0], scale) && add(e->args[1], -scale);
      case Op::neg:
        return add(e->args[0], -scale);
      case Op::mul:
        return add_product(e->args[0], e->args[1], scale);
      case Op::fma:
        return add_product(e->args[0], e->args[1], scale) && add(e->args[2], scale);
      case Op::load:
        return !is_conditional(*e) && add_load(e, scale);
      default:
        return false;
    }
  }

  bool add_product(const Expr& a, const Expr& b, double scale) {
    if (a->op == Op::real) return add(b, scale * a->real);
    return b->op == Op::real && add(a, scale * b->real);
  }

  bool add_load(const Expr& e, double scale) {
    LibraryProduct& p = product_;
    const Expr& index = e->args[0];
    if (e->buffer->dtype != c_.dtype) return false;
    if (index == result_index_) {
      if (p.c && p.c != e->buffer) return false;
      p.c = e->buffer;
      p.beta += scale;
      return true;
    }
    const auto is = [&](const loop::Variable& v, std::int64_t step) {
      const std::optional<Dim> found = stride(index, v);
      return found && found->is_constant(step);
    };
    if (p.bias || scale != 1 || !is(column_, 1) || !is(row_, 0) || (batch_ && !is(*batch_, 0)) ||
        !starts_at_zero(index, {column_})) {
      return false;
    }
    p.bias = e->buffer;
    return true;
  }

  const Contraction& c_;
  std::optional<loop::Variable> batch_;
  loop::Variable row_, column_, inner_;
  Expr result_index_;
  LibraryProduct product_;
};

}  // namespace

std::shared_ptr<const LibraryProduct> library_product(const Contraction& contraction) {
  return ProductMatcher(contraction).run();
}

std::shared_ptr<const LibraryProduct> with_result(const LibraryProduct& product,
                                                  const loop::BufferRef& result) {
  LibraryProduct changed = product;
  changed.result.buffer = result;
  return std::make_shared<const LibraryProduct>(changed);
}

}  // namespace kroton
