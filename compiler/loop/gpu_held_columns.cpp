// Columns that a kernel goes over several times: threads of a block share the rows of some columns,
// and their elements stay in registers where there is room, so that memory is read once.
#include <algorithm>
#include <limits>

#include "compiler/loop/gpu_held_loops.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/sum_blocks.h"

namespace kroton::loop {
namespace {

// Elements of a thread where the rest of the block's threads have as many.
constexpr std::int64_t most_of_long_column = 32;
// Threads of a block: so many that it has work for, so many that several blocks fit on a processor,
// the most that there are.
constexpr int least_block = 128;
constexpr int usual_block = 256;
constexpr int most_block = 1024;
// Of columns whose elements are read again for every stage.
constexpr int block_of_long_columns = 512;
constexpr std::int64_t least_long_column = 64;
// Bytes of memory that come together, whoever asks for one of them.
constexpr std::int64_t sector = 32;
constexpr std::int64_t enough_blocks = 264;
// What so many groups of threads have is brought together at once, and as many are left of more.
constexpr int few_groups = 16;
constexpr int groups_left = 8;
constexpr std::int64_t most_shared_bytes = 32 << 10;

int power_of_two_from(std::int64_t count) {
  int power = 1;
  while (power < count) power *= 2;
  return power;
}

}  // namespace

class ColumnHolder {
 public:
  ColumnHolder(GpuScheduler& scheduler, const std::vector<const For*>& outer, const Block& core,
               std::int64_t longest)
      : scheduler_(scheduler), count_(product(extents_of(outer))), longest_(longest) {
    core_ = substitute(core, unflatten(variables_of(outer), extents_of(outer), variable(column_)));
  }

  // Empty if the core is more than stages of sums and stores, or is better left to other forms.
  Block run() {
    if (!find_stages() || stages_.size() < 2) return {};
    if (!share_in_registers() && !share_again()) return {};
    if (!shared_fits()) return {};
    for (const HeldArray& array : holder_->held()) result_.push_back(Allocate{array.registers});
    for (const ColumnStage& stage : stages_) {
      for (const ColumnSum& sum : stage.sums) result_.push_back(Allocate{sum.total});
    }
    std::size_t number = 0;
    for (std::size_t k = 0; k < core_.size(); ++k) {
      if (number < stages_.size() && holder_->stages()[number].place == k) {
        run_stage(number++);
      } else if (const auto* store = std::get_if<Store>(&core_[k])) {
        // A result of the column, which one of its threads stores.
        const Variable c = fresh_variable("c");
        const Expr here = binary(Op::min, integer(width_), left());
        const Block of_column = substitute({Stmt(*store)}, known_);
        result_.push_back(GpuScheduler::threads(c, here, at_column(of_column, variable(c))));
      }
    }
    return with_barriers(result_);
  }

  int threads() const { return width_ * groups_; }
  int width() const { return width_; }

 private:
  // A scalar that a stage accumulates, and where every thread of the column has the result.
  struct ColumnSum {
    Variable variable;
    Expr init;
    BufferRef total;
  };

  // A stage of the core: what it does for one element, and its sums, by statement of the body.
  struct ColumnStage {
    std::vector<Stmt> accumulations;
    std::vector<ColumnSum> sums;
  };

  bool find_stages() {
    std::vector<Declare> declared;
    std::size_t used = 0;
    std::vector<HeldStage> stages;
    for (std::size_t k = 0; k < core_.size(); ++k) {
      if (const auto* declare = std::get_if<Declare>(&core_[k])) {
        declared.push_back(*declare);
        continue;
      }
      if (as_for(core_[k]) == nullptr) {
        const auto* store = std::get_if<Store>(&core_[k]);
        if (store == nullptr || store->buffer->space != Space::global) return false;
        continue;
      }
      const Block* body = nullptr;
      const Block whole{core_[k]};
      const std::vector<const For*> loops = perfect_nest(whole, GpuScheduler::may_share, body);
      const Expr length = product(extents_of(loops));
      if (has_loop_or_branch(*body) || (length_ != nullptr && length != length_)) return false;
      length_ = length;
      const Block own = substitute(
          substitute(*body, unflatten(variables_of(loops), extents_of(loops), variable(position_))),
          known_);
      ColumnStage stage;
      const auto take = [&](const Variable& v, const Expr& init) {
        const bool begins = std::any_of(declared.begin(), declared.end(), [&](const Declare& d) {
          return d.variable == v && d.init == init;
        });
        if (!begins) return false;
        ++used;
        const BufferRef total = scheduler_.new_buffer(Space::registers, v.dtype, 1, "total");
        stage.sums.push_back({v, init, total});
        known_.emplace_back(v, load(total, integer(0)));
        return true;
      };
      for (const Stmt& s : own) {
        if (const auto* sum = std::get_if<Accumulate>(&s)) {
          if (!take(sum->variable, initial(sum->op, sum->variable.dtype))) return false;
          stage.accumulations.push_back(s);
        } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
          const Op op = arg->maximum ? Op::max : Op::min;
          if (!take(arg->best, initial(op, arg->best.dtype)) ||
              !take(arg->position, integer(std::numeric_limits<std::int64_t>::max()))) {
            return false;
          }
          stage.accumulations.push_back(s);
        } else if (!std::holds_alternative<Store>(s)) {
          return false;
        }
      }
      stages.push_back({k, own});
      stages_.push_back(std::move(stage));
    }
    if (stages.empty() || used != declared.size()) return false;
    holder_.emplace(position_, std::move(stages), core_);
    return holder_->is_possible();
  }

  // How columns and rows are dealt out so that threads keep what is read several times.
  bool share_in_registers() {
    std::int64_t known = 0;
    const bool is_known = is_integer_constant(length_, known);
    const std::int64_t most = is_known ? known : constant_bound(length_).value_or(longest_);
    std::int64_t narrowest = 0;
    for (const HeldArray& array : holder_->held()) {
      const std::int64_t bytes = size_of(array.element->dtype);
      narrowest = narrowest == 0 ? bytes : std::min(narrowest, bytes);
    }
    if (most <= 0 || narrowest == 0) return false;
    std::int64_t columns = 0;
    const bool are_known = is_integer_constant(count_, columns);
    const int all = are_known ? power_of_two_from(columns) : most_block;
    const int least = std::min(all, static_cast<int>(sector / narrowest));
    width_ = std::min(all, GpuScheduler::warp);
    groups_ = 1;
    while (groups_ * most_of_thread < most) groups_ *= 2;
    const auto halve = [&] { width_ = width_ / 2; };
    while (threads() > usual_block && width_ > least) halve();
    while (threads() > most_block) groups_ /= 2;
    const auto rounds = [&] { return (most + groups_ - 1) / groups_; };
    if (rounds() > most_of_long_column) return false;
    while (are_known && width_ > least && rounds() > 2 && columns < enough_blocks * width_) {
      halve();
      groups_ *= 2;
    }
    while (threads() < least_block) width_ *= 2;
    PositionShare share;
    share.threads = groups_;
    share.rounds = rounds();
    share.count = known;
    registers_ = scheduler_.new_registers();
    holder_->choose(share.rounds, registers_);
    if (holder_->held().empty()) return false;
    share_ = share;
    return true;
  }

  // The same, for threads that read them again.
  bool share_again() {
    holder_->held().clear();
    std::int64_t known = 0, columns = 0;
    if (is_integer_constant(length_, known) && known < least_long_column) return false;
    width_ = GpuScheduler::warp;
    if (is_integer_constant(count_, columns)) {
      width_ = std::min(width_, power_of_two_from(columns));
    }
    groups_ = block_of_long_columns / width_;
    return true;
  }

  bool shared_fits() const {
    std::int64_t bytes = 0;
    for (const ColumnStage& stage : stages_) {
      for (const ColumnSum& sum : stage.sums) bytes += threads() * size_of(sum.variable.dtype);
    }
    return groups_ == 1 || bytes <= most_shared_bytes;
  }

  Expr first() const { return variable(scheduler_.block_) * integer(width_); }
  Expr left() const { return count_ - first(); }
  Expr lane(const Variable& t) const { return binary(Op::mod, variable(t), integer(width_)); }
  Expr group(const Variable& t) const {
    return binary(Op::floor_div, variable(t), integer(width_));
  }

  Block at_column(const Block& block, const Expr& lane) const {
    return substitute(block, {{column_, first() + lane}});
  }

  // What each thread does, of those that have a column, and a group below `groups`.
  void add_threads(int groups, const std::function<Block(const Variable& t)>& body) {
    const Variable t = fresh_variable("t");
    const Expr has_column = binary(Op::lt, lane(t), left());
    result_.push_back(GpuScheduler::threads(
        t, integer(groups * width_), {statement(If{has_column, at_column(body(t), lane(t)), {}})}));
  }

  void run_stage(std::size_t number) {
    const ColumnStage& stage = stages_[number];
    std::vector<BufferRef> partials;
    if (groups_ > 1) {
      for (const ColumnSum& sum : stage.sums) {
        partials.push_back(scheduler_.shared_buffer(sum.variable.dtype, threads()));
      }
    }
    add_threads(groups_, [&](const Variable& t) {
      Block own = declarations(stage);
      append(own, dealt_out(number, group(t)));
      append(own, left_by(stage, partials, t));
      return own;
    });
    if (groups_ == 1 || stage.sums.empty()) return;
    int groups = groups_;
    if (groups > few_groups) {
      std::vector<BufferRef> fewer;
      for (const ColumnSum& sum : stage.sums) {
        fewer.push_back(scheduler_.shared_buffer(sum.variable.dtype, groups_left * width_));
      }
      add_threads(groups_left, [&](const Variable& t) {
        Block own =
            brought_together(stage, partials, groups / groups_left, groups_left, group(t), t);
        append(own, left_by(stage, fewer, t));
        return own;
      });
      partials = fewer;
      groups = groups_left;
    }
    add_threads(groups_, [&](const Variable& t) {
      Block own = brought_together(stage, partials, groups, 1, integer(0), t);
      append(own, left_by(stage, {}, t));
      return own;
    });
  }

  static Block declarations(const ColumnStage& stage) {
    Block block;
    for (const ColumnSum& sum : stage.sums) block.push_back(Declare{sum.variable, sum.init});
    return block;
  }

  // The group's part of the stage.
  Block dealt_out(std::size_t number, const Expr& group) {
    const HeldStage& stage = holder_->stages()[number];
    if (share_) {
      return DealtStages(*share_, length_, position_, holder_->held(), registers_)(stage, number,
                                                                                   group);
    }
    const Variable k = fresh_variable("k");
    const Expr groups = integer(groups_);
    For rows;
    rows.variable = k;
    rows.extent = binary(Op::floor_div, length_ + integer(groups_ - 1) - group, groups);
    rows.body = substitute(stage.body, {{position_, variable(k) * groups + group}});
    return {statement(std::move(rows))};
  }

  // The sums go to shared memory, for the others, or where the thread keeps the results.
  static Block left_by(const ColumnStage& stage, const std::vector<BufferRef>& partials,
                       const Variable& t) {
    Block block;
    for (std::size_t k = 0; k < stage.sums.size(); ++k) {
      const ColumnSum& sum = stage.sums[k];
      const Expr value = variable(sum.variable);
      block.push_back(partials.empty() ? Store{sum.total, integer(0), value}
                                       : Store{partials[k], variable(t), value});
    }
    return block;
  }

  // The sums of `count` groups, from group `begin` on, each `step` behind the one before it.
  Block brought_together(const ColumnStage& stage, const std::vector<BufferRef>& partials,
                         int count, int step, const Expr& begin, const Variable& t) const {
    const Variable g = fresh_variable("g");
    const Expr from = (begin + variable(g) * integer(step)) * integer(width_) + lane(t);
    std::size_t next = 0;
    Block body;
    for (const Stmt& s : stage.accumulations) {
      if (const auto* sum = std::get_if<Accumulate>(&s)) {
        body.push_back(Accumulate{sum->variable, sum->op, load(partials[next++], from)});
      } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
        const Expr best = load(partials[next], from), position = load(partials[next + 1], from);
        next += 2;
        body.push_back(AccumulateArg{arg->best, arg->position, arg->maximum, best, position});
      }
    }
    Block block = declarations(stage);
    block.push_back(statement(unrolled_loop(g, count, std::move(body))));
    return block;
  }

  static void append(Block& list, Block more) {
    for (Stmt& s : more) list.push_back(std::move(s));
  }

  GpuScheduler& scheduler_;
  const Expr count_;            // of the columns
  const std::int64_t longest_;  // of columns whose length is not known; 0: it may be any
  const Variable column_ = fresh_variable("column");
  const Variable position_ = fresh_variable("p");
  Block core_;  // of that column
  Expr length_ = nullptr;
  std::vector<ColumnStage> stages_;
  std::vector<std::pair<Variable, Expr>> known_;  // sums of the stages so far
  std::optional<StageHolder> holder_;
  StageHolder::NewRegisters registers_;
  std::optional<PositionShare> share_;  // absent: elements are read again for each stage
  int width_ = 0;                       // columns of a block
  int groups_ = 0;                      // threads of a column
  Block result_;
};

Block GpuScheduler::held_columns(const std::vector<const For*>& outer, const Block& core) {
  if (outer.empty()) return {};
  ColumnHolder columns(*this, outer, core, longest_row_);
  Block block = columns.run();
  if (block.empty()) return {};
  column_threads_ = columns.threads();
  block_count_ = blocks_for(product(extents_of(outer)), columns.width());
  return block;
}

}  // namespace kroton::loop
