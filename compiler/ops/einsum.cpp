// Einstein's summation: operands whose axes have labels, multiplied two at a time.
#include <kroton/products.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>
#include <set>

#include "compiler/ops/labeled.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/rules.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace ops {

namespace {

using Labels = std::vector<int>;

bool has(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

Labels joined(Labels first, const std::vector<Labels>& more) {
  for (const Labels& labels : more) first.insert(first.end(), labels.begin(), labels.end());
  return first;
}

Dims sizes_of(const Labeled& x, const Labels& labels) {
  Dims sizes;
  for (const int label : labels) {
    const auto at = std::find(x.labels.begin(), x.labels.end(), label) - x.labels.begin();
    sizes.push_back(x.tensor.shape(static_cast<int>(at)));
  }
  return sizes;
}

// The axes in that order; the labels are the same.
Tensor arranged(const Labeled& x, const Labels& labels) {
  if (x.labels == labels) return x.tensor;
  std::vector<int> axes;
  for (const int label : labels) {
    axes.push_back(
        static_cast<int>(std::find(x.labels.begin(), x.labels.end(), label) - x.labels.begin()));
  }
  return transpose(x.tensor, axes);
}

Labeled summed(const Labeled& x, const Labels& kept) {
  std::vector<int> axes;
  Labels rest;
  for (std::size_t axis = 0; axis < x.labels.size(); ++axis) {
    if (has(kept, x.labels[axis])) {
      rest.push_back(x.labels[axis]);
    } else {
      axes.push_back(static_cast<int>(axis));
    }
  }
  if (axes.empty()) return x;
  return {cast(sum(x.tensor, Axes(axes)), x.tensor.dtype()), rest};
}

// The elementwise product.
Labeled multiplied(const Labeled& x, const Labeled& y) {
  Labels all = x.labels;
  for (const int label : y.labels) {
    if (!has(all, label)) all.push_back(label);
  }
  const auto widened = [&](const Labeled& t) {
    Labels own;
    Dims shape;
    for (const int label : all) {
      if (has(t.labels, label)) own.push_back(label);
    }
    const Dims sizes = sizes_of(t, own);
    std::size_t next = 0;
    for (const int label : all) shape.push_back(has(t.labels, label) ? sizes[next++] : Dim(1));
    return reshape(arranged(t, own), shape);
  };
  return {widened(x) * widened(y), all};
}

// x as matrices (batch..., first, second): as it lies in memory where that is their transposes.
Tensor as_matrices(const Labeled& x, const Labels& batch, const Labels& first,
                   const Labels& second) {
  Dims shape = sizes_of(x, batch);
  const Dim rows = element_count(sizes_of(x, first)), columns = element_count(sizes_of(x, second));
  const bool lies_transposed = x.labels == joined(batch, {second, first});
  shape.push_back(lies_transposed ? columns : rows);
  shape.push_back(lies_transposed ? rows : columns);
  if (lies_transposed) return swapaxes(reshape(x.tensor, shape), -1, -2);
  return reshape(arranged(x, joined(batch, {first, second})), shape);
}

}  // namespace

Labeled contract(const Labeled& left, const Labeled& right, const std::vector<int>& kept) {
  // What one operand alone has is summed before it is multiplied.
  const Labeled x = summed(left, joined(kept, {right.labels}));
  const Labeled y = summed(right, joined(kept, {x.labels}));
  Labels batch, rows, columns, inner;
  for (const int label : x.labels) {
    if (!has(y.labels, label)) {
      rows.push_back(label);
    } else {
      (has(kept, label) ? batch : inner).push_back(label);
    }
  }
  for (const int label : y.labels) {
    if (!has(x.labels, label)) columns.push_back(label);
  }
  if (inner.empty()) return multiplied(x, y);
  // The inner axes in the order in which y has them, where x would be moved in any case.
  const bool x_lies =
      x.labels == joined(batch, {rows, inner}) || x.labels == joined(batch, {inner, rows});
  if (!x_lies) {
    Labels of_y;
    for (const int label : y.labels) {
      if (has(inner, label)) of_y.push_back(label);
    }
    inner = of_y;
  }
  const Tensor product =
      matmul(as_matrices(x, batch, rows, inner), as_matrices(y, batch, inner, columns));
  Dims shape(product.shape().begin(), product.shape().end() - 2);
  for (const auto& [t, labels] : {std::pair(&x, &rows), std::pair(&y, &columns)}) {
    for (const Dim& size : sizes_of(*t, *labels)) shape.push_back(size);
  }
  return {reshape(product, shape), joined(batch, {rows, columns})};
}

namespace {

// The order in which operands are multiplied, by the number of multiplications.
class Order {
 public:
  Order(std::vector<Labeled> operands, Labels result, std::map<int, double> sizes)
      : operands_(std::move(operands)), result_(std::move(result)), sizes_(std::move(sizes)) {}

  Labeled product() {
    if (operands_.size() == 1) return summed(operands_[0], result_);
    if (operands_.size() <= most_exhaustive) return best();
    while (operands_.size() > 1) multiply_cheapest();
    return operands_[0];
  }

 private:
  static constexpr std::size_t most_exhaustive = 8;
  using Set = std::size_t;  // of operands, by bits

  struct Split {
    double cost = std::numeric_limits<double>::infinity();
    Set left = 0;
  };

  double count(const Labels& a, const Labels& b) const {
    double product = 1;
    for (const int label : a) product *= sizes_.at(label);
    for (const int label : b) {
      if (!has(a, label)) product *= sizes_.at(label);
    }
    return product;
  }

  // What others, or the result, need of the operands outside of `of`.
  Labels wanted_outside(Set of) const {
    Labels wanted = result_;
    for (std::size_t k = 0; k < operands_.size(); ++k) {
      if ((of >> k & 1U) == 0) wanted = joined(wanted, {operands_[k].labels});
    }
    return wanted;
  }

  Labels labels_of(Set set) const {
    const Labels wanted = wanted_outside(set);
    Labels labels;
    for (std::size_t k = 0; k < operands_.size(); ++k) {
      if ((set >> k & 1U) == 0) continue;
      for (const int label : operands_[k].labels) {
        if (has(wanted, label) && !has(labels, label)) labels.push_back(label);
      }
    }
    return labels;
  }

  Labeled best() {
    const Set all = (Set{1} << operands_.size()) - 1;
    std::vector<Labels> labels(all + 1);
    for (Set set = 1; set <= all; ++set) labels[set] = labels_of(set);
    splits_.assign(all + 1, {});
    for (std::size_t k = 0; k < operands_.size(); ++k) splits_[Set{1} << k].cost = 0;
    for (Set set = 1; set <= all; ++set) {
      for (Set left = (set - 1) & set; left > 0; left = (left - 1) & set) {
        if (left < (set & ~left)) break;  // the others are these with their sides swapped
        const double cost = splits_[left].cost + splits_[set & ~left].cost +
                            count(labels[left], labels[set & ~left]);
        if (cost < splits_[set].cost) splits_[set] = {cost, left};
      }
    }
    return product_of(all);
  }

  Labeled product_of(Set set) {
    if (splits_[set].left == 0) {
      std::size_t k = 0;
      while ((set >> k & 1U) == 0) ++k;
      return operands_[k];
    }
    Set left = splits_[set].left, right = set & ~left;
    // The one that has the first axis of the result, or else the first operand, comes first.
    if (comes_first(right, left)) std::swap(left, right);
    return contract(product_of(left), product_of(right), wanted_outside(set));
  }

  bool comes_first(Set a, Set b) const {
    const Labels of_a = labels_of(a), of_b = labels_of(b);
    for (const int label : result_) {
      if (has(of_a, label) != has(of_b, label)) return has(of_a, label);
    }
    return (a & (~a + 1)) < (b & (~b + 1));
  }

  void multiply_cheapest() {
    std::size_t first = 0, second = 1;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < operands_.size(); ++i) {
      for (std::size_t j = i + 1; j < operands_.size(); ++j) {
        const double cost = count(operands_[i].labels, operands_[j].labels);
        if (cost < least) {
          least = cost;
          first = i;
          second = j;
        }
      }
    }
    const Labels wanted = wanted_outside(Set{1} << first | Set{1} << second);
    operands_[first] = contract(operands_[first], operands_[second], wanted);
    operands_.erase(operands_.begin() + static_cast<std::ptrdiff_t>(second));
  }

  std::vector<Labeled> operands_;
  const Labels result_;
  const std::map<int, double> sizes_;
  std::vector<Split> splits_;
};

}  // namespace

Tensor product_of_all(std::vector<Labeled> operands, const std::vector<int>& result) {
  constexpr double of_free = 1000;
  std::map<int, double> sizes;
  for (const Labeled& x : operands) {
    for (std::size_t axis = 0; axis < x.labels.size(); ++axis) {
      const Dim& size = x.tensor.shape()[axis];
      double& known = sizes.try_emplace(x.labels[axis], of_free).first->second;
      if (size.is_constant()) known = static_cast<double>(size.constant());
    }
  }
  return arranged(Order(std::move(operands), result, std::move(sizes)).product(), result);
}

}  // namespace ops

namespace {

using ops::Labeled;

const OpRecord einsum_op{.name = "einsum"};  // in whose name errors are

// One operand's letters, or the result's: those before an ellipsis, and those behind it.
struct Letters {
  std::string before, behind;
  bool has_ellipsis = false;
  std::string all() const { return before + behind; }
};

[[noreturn]] void fail_string(const std::string& text, const std::string& why) {
  ops::fail_value("einsum", "\"" + text + "\": " + why);
}

Letters letters_of(const std::string& term, const std::string& text) {
  Letters result;
  for (std::size_t k = 0; k < term.size(); ++k) {
    if (term.compare(k, 3, "...") == 0) {
      if (result.has_ellipsis) fail_string(text, "two ellipses for one operand");
      result.has_ellipsis = true;
      k += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[k])) != 0) {
      (result.has_ellipsis ? result.behind : result.before) += term[k];
    } else {
      fail_string(text, "expected letters, commas, \"...\" and one \"->\", got '" +
                            std::string(1, term[k]) + "'");
    }
  }
  return result;
}

struct Expression {
  std::vector<Letters> operands;
  Letters result;
};

Expression parsed(const std::string& text) {
  std::string left;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) left += c;
  }
  std::optional<std::string> right;
  if (const std::size_t arrow = left.find("->"); arrow != std::string::npos) {
    right = left.substr(arrow + 2);
    left.resize(arrow);
  }
  Expression result;
  for (std::size_t begin = 0; begin <= left.size();) {
    const std::size_t end = std::min(left.find(',', begin), left.size());
    result.operands.push_back(letters_of(left.substr(begin, end - begin), text));
    begin = end + 1;
  }
  std::map<char, int> times;
  for (const Letters& letters : result.operands) {
    for (const char c : letters.all()) ++times[c];
    result.result.has_ellipsis = result.result.has_ellipsis || letters.has_ellipsis;
  }
  if (!right) {
    for (const auto& [c, count] : times) {
      if (count == 1) result.result.behind += c;
    }
    return result;
  }
  const bool any_ellipsis = result.result.has_ellipsis;
  result.result = letters_of(*right, text);
  if (result.result.has_ellipsis && !any_ellipsis) {
    fail_string(text, "the result has an ellipsis, and no operand has one");
  }
  std::set<char> seen;
  for (const char c : result.result.all()) {
    if (!times.contains(c)) {
      fail_string(text, "the result's letter " + std::string(1, c) + " is none of an operand");
    }
    if (!seen.insert(c).second) {
      fail_string(text, "the result has the letter " + std::string(1, c) + " twice");
    }
  }
  return result;
}

// Labels: letters as they are, and -1, -2, ... for the axes of an ellipsis, from the last one on.
Labeled labeled(const Tensor& x, const Letters& letters, const Tensors& operands,
                const std::string& text) {
  const int named = static_cast<int>(letters.all().size());
  if (letters.has_ellipsis ? x.rank() < named : x.rank() != named) {
    ops::fail_shape(einsum_op, operands,
                    "\"" + text + "\" gives " + x.name() +
                        (letters.has_ellipsis ? " at least " : " ") + std::to_string(named) +
                        (named == 1 ? " axis" : " axes"));
  }
  std::vector<int> labels(letters.before.begin(), letters.before.end());
  for (int k = x.rank() - named; k > 0; --k) labels.push_back(-k);
  labels.insert(labels.end(), letters.behind.begin(), letters.behind.end());
  // Sizes of 1 under an ellipsis stand for any.
  Labeled result{x, {}};
  std::vector<int> ones;
  for (std::size_t axis = 0; axis < labels.size(); ++axis) {
    if (labels[axis] < 0 && x.shape()[axis].is_constant(1)) {
      ones.push_back(static_cast<int>(axis));
    } else {
      result.labels.push_back(labels[axis]);
    }
  }
  if (!ones.empty()) result.tensor = squeeze(x, Axes(ones));
  return result;
}

std::string in_words(int label) {
  if (label > 0) return "the letter " + std::string(1, static_cast<char>(label));
  return "the ellipsis' axis " + std::to_string(label);
}

// ShapeError where a label is known to have two sizes.
void compare_sizes(const std::vector<Labeled>& terms, const Tensors& operands,
                   const std::string& text) {
  std::map<int, std::pair<std::int64_t, std::size_t>> known;
  for (std::size_t k = 0; k < terms.size(); ++k) {
    for (std::size_t axis = 0; axis < terms[k].labels.size(); ++axis) {
      const Dim& size = terms[k].tensor.shape()[axis];
      if (!size.is_constant()) continue;
      const auto [first, is_new] = known.try_emplace(terms[k].labels[axis], size.constant(), k);
      const auto& [other, owner] = first->second;
      if (is_new || other == size.constant()) continue;
      ops::fail_shape(einsum_op, operands,
                      "\"" + text + "\": " + in_words(terms[k].labels[axis]) + " is " +
                          std::to_string(other) + " in operand " + std::to_string(owner) + " and " +
                          size.to_string() + " in operand " + std::to_string(k));
    }
  }
}

// With each label once: the diagonals of axes that have the same.
Labeled without_repeats(Labeled x) {
  for (std::size_t k = 0; k < x.labels.size(); ++k) {
    for (std::size_t later = k + 1; later < x.labels.size(); ++later) {
      if (x.labels[k] != x.labels[later]) continue;
      std::vector<int> axes, labels;
      for (std::size_t axis = 0; axis < x.labels.size(); ++axis) {
        if (axis == k || axis == later) continue;
        axes.push_back(static_cast<int>(axis));
        labels.push_back(x.labels[axis]);
      }
      axes.insert(axes.end(), {static_cast<int>(k), static_cast<int>(later)});
      labels.push_back(x.labels[k]);
      return without_repeats({ops::matrix_diagonal(transpose(x.tensor, axes), "einsum"), labels});
    }
  }
  return x;
}

}  // namespace

Tensor einsum(const Subscripts& subscripts, const Tensors& operands) {
  const LineScope scope(LineScope::current().value_or(
      SourceLine{subscripts.location.file_name(), subscripts.location.line()}));
  const std::string& text = subscripts.text;
  for (const Tensor& x : operands) (void)Operand(x).tensor();  // none is empty
  const Expression expression = parsed(text);
  if (expression.operands.size() != operands.size()) {
    fail_string(text, "it has " + std::to_string(expression.operands.size()) + " operands, got " +
                          std::to_string(operands.size()));
  }
  const Tensors promoted = ops::promoted(operands);
  for (const Tensor& x : promoted) {
    if (x.dtype() == DType::boolean) ops::fail_type(einsum_op, operands, "takes numbers only");
  }
  std::vector<Labeled> terms;
  int ellipsis = 0;
  for (std::size_t k = 0; k < promoted.size(); ++k) {
    const Letters& letters = expression.operands[k];
    terms.push_back(labeled(promoted[k], letters, operands, text));
    if (letters.has_ellipsis) {
      ellipsis = std::max(ellipsis, promoted[k].rank() - static_cast<int>(letters.all().size()));
    }
  }
  compare_sizes(terms, operands, text);
  for (Labeled& term : terms) term = without_repeats(std::move(term));

  const Letters& letters = expression.result;
  std::vector<int> labels(letters.before.begin(), letters.before.end());
  if (letters.has_ellipsis) {
    for (int k = ellipsis; k > 0; --k) labels.push_back(-k);
  }
  labels.insert(labels.end(), letters.behind.begin(), letters.behind.end());
  // Axes under an ellipsis that are of size 1 everywhere are those of no operand.
  std::vector<int> present;
  for (const int label : labels) {
    const bool found = std::any_of(terms.begin(), terms.end(), [&](const Labeled& x) {
      return std::find(x.labels.begin(), x.labels.end(), label) != x.labels.end();
    });
    if (found) present.push_back(label);
  }
  const Tensor product = ops::product_of_all(std::move(terms), present);
  Dims shape;
  std::size_t next = 0;
  for (const int label : labels) {
    const bool is_present = next < present.size() && present[next] == label;
    shape.push_back(is_present ? product.shape()[next++] : Dim(1));
  }
  return reshape(product, shape);
}

}  // namespace kroton
