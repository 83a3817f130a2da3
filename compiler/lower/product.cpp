#include "compiler/lower/product.h"

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;
using Vertex = Graph::Vertex;

class ProductMatcher {
 public:
  explicit ProductMatcher(KernelContext& context)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        dot_(cluster_.hero),
        dtype_(graph_[dot_].type.dtype),
        inner_(fresh_variable("inner")) {
    const std::size_t rank = cluster_.domain.size();
    if (rank > 2) batch_ = cluster_.variables[0];
    row_ = cluster_.variables[rank - 2];
    column_ = cluster_.variables[rank - 1];
  }

  std::shared_ptr<const loop::Product> run() {
    const std::size_t rank = cluster_.domain.size();
    if (rank > 3 || cluster_.roots.size() != 1 || !is_float(dtype_)) return nullptr;
    const auto& flags = graph_[dot_].attributes.integers;
    const bool transpose_a = !flags.empty() && flags[0] != 0;
    const bool transpose_b = flags.size() > 1 && flags[1] != 0;
    const Dims& a_shape = graph_[graph_.operand(dot_, 0)].type.shape;
    loop::Product& p = product_;
    p.rows = cluster_.domain[rank - 2];
    p.columns = cluster_.domain[rank - 1];
    p.inner = a_shape[a_shape.size() - (transpose_a ? 2 : 1)];
    if (batch_) p.batch = cluster_.domain[0];
    if (!operand(0, row_, inner_, transpose_a, p.rows, p.inner, p.a) ||
        !operand(1, inner_, column_, transpose_b, p.inner, p.columns, p.b)) {
      return nullptr;
    }
    dot_value_ = loop::variable({fresh_variable("dot").id, dtype_, "dot"});
    context_.set_value({dot_, cluster_.full_point()}, dot_value_);
    const auto store =
        std::get<loop::Store>(context_.store_root(cluster_.roots[0], cluster_.full_point()));
    context_.forget_values();
    result_index_ = store.index;
    p.alpha = 0;
    if (store.buffer->dtype != dtype_ ||
        !matrix(store.buffer, store.index, row_, column_, p.rows, p.columns, p.result) ||
        p.result.transposed || !add(store.value, 1) || p.alpha == 0) {
      return nullptr;
    }
    return std::make_shared<const loop::Product>(p);
  }

 private:
  bool operand(int number, const loop::Variable& row, const loop::Variable& column, bool transposed,
               const Dim& rows, const Dim& columns, loop::Product::Matrix& found) {
    Index index;
    if (batch_) index.push_back(loop::variable(*batch_));
    index.push_back(loop::variable(transposed ? column : row));
    index.push_back(loop::variable(transposed ? row : column));
    const Expr value = context_.value(graph_.operand(dot_, number), index);
    return value->op == Op::load && value->buffer->dtype == dtype_ &&
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
              loop::Product::Matrix& found) const {
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
    loop::Product& p = product_;
    if (e == dot_value_) {
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
        return add_load(e, scale);
      default:
        return false;
    }
  }

  bool add_product(const Expr& a, const Expr& b, double scale) {
    if (a->op == Op::real) return add(b, scale * a->real);
    return b->op == Op::real && add(a, scale * b->real);
  }

  bool add_load(const Expr& e, double scale) {
    loop::Product& p = product_;
    const Expr& index = e->args[0];
    if (e->buffer->dtype != dtype_) return false;
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

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Vertex dot_;
  DType dtype_;
  std::optional<loop::Variable> batch_;
  loop::Variable row_, column_, inner_;
  Expr dot_value_, result_index_;
  loop::Product product_;
};

}  // namespace

std::shared_ptr<const loop::Product> library_product(KernelContext& context) {
  return ProductMatcher(context).run();
}

std::shared_ptr<const loop::Product> with_result(const loop::Product& product,
                                                 const loop::BufferRef& result) {
  loop::Product changed = product;
  changed.result.buffer = result;
  return std::make_shared<const loop::Product>(changed);
}

}  // namespace kroton
