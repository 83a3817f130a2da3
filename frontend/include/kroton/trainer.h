// Training and testing of a network, on minibatches that the program has (train_minibatch,
// test_minibatch) or on whole data sets (fit, evaluate, predict).
//
//     kt::optim::Adam adam({.rate = 1e-3});
//     kt::nn::Trainer trainer(net, images, labels, kt::nn::cross_entropy_of, adam,
//                             {.metrics = {{"accuracy", kt::nn::accuracy}}});
//     const auto history = trainer.fit(examples, {.epochs = 5, .batch = 128,
//                                                 .validation = held_out,
//                                                 .callbacks = {kt::nn::EarlyStopping()},
//                                                 .progress = &std::cout});
//     const double accuracy = trainer.evaluate(test)["accuracy"];
#pragma once
#include <kroton/collectives.h>
#include <kroton/dataset.h>
#include <kroton/function.h>
#include <kroton/moving_average.h>
#include <kroton/nn.h>
#include <kroton/optimizer.h>

#include <concepts>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kroton::nn {

// ---- What is measured

template <class F, class... Arguments>
concept GivesTensor = std::is_invocable_r_v<Tensor, const F&, const Arguments&...>;
using Tensors = std::vector<Tensor>;

// What a loss or a metric computes of the network's output and of the labels. One that has three
// arguments takes weights, too, which may be empty: a weight for each label, of the labels' shape
// or of its first axes, by which the mean is to be weighted. FitOptions::class_weights and the
// weights of a batch are for losses that take them; for metrics they are empty. The losses of
// nn_losses.h take them. One whose arguments are lists is of all outputs and labels of the network.
class Measure {
 public:
  Measure() = default;
  template <class F>
    requires(!std::same_as<F, Measure> && GivesTensor<F, Tensor, Tensor, Tensor>)
  Measure(F measure) : weighted_(std::move(measure)) {}  // NOLINT: a function is one
  template <class F>
    requires(!std::same_as<F, Measure> && !GivesTensor<F, Tensor, Tensor, Tensor> &&
             GivesTensor<F, Tensor, Tensor, LossOptions>)
  Measure(F measure)  // NOLINT: a loss is one
      : weighted_([measure = std::move(measure)](const Tensor& output, const Tensor& labels,
                                                 const Tensor& weights) -> Tensor {
          return measure(output, labels, LossOptions{.weights = weights});
        }) {}
  template <class F>
    requires(!std::same_as<F, Measure> && !GivesTensor<F, Tensor, Tensor, Tensor> &&
             GivesTensor<F, Tensor, Tensor, CrossEntropyOptions>)
  Measure(F measure)  // NOLINT: a loss is one
      : weighted_([measure = std::move(measure)](const Tensor& output, const Tensor& labels,
                                                 const Tensor& weights) -> Tensor {
          return measure(output, labels, CrossEntropyOptions{.mask = weights});
        }) {}
  template <class F>
    requires(!std::same_as<F, Measure> && !GivesTensor<F, Tensor, Tensor, Tensor> &&
             !GivesTensor<F, Tensor, Tensor, LossOptions> &&
             !GivesTensor<F, Tensor, Tensor, CrossEntropyOptions> && GivesTensor<F, Tensor, Tensor>)
  Measure(F measure) : plain_(std::move(measure)) {}  // NOLINT: a function is one
  template <class F>
    requires(!std::same_as<F, Measure> && !GivesTensor<F, Tensor, Tensor> &&
             GivesTensor<F, Tensors, Tensors>)
  Measure(F measure) : of_all_(std::move(measure)) {}  // NOLINT: a function is one

  explicit operator bool() const { return plain_ || weighted_ || of_all_; }
  bool takes_weights() const { return static_cast<bool>(weighted_); }
  bool is_of_all() const { return static_cast<bool>(of_all_); }
  Tensor operator()(const Tensor& output, const Tensor& labels, const Tensor& weights = {}) const {
    if (of_all_) return of_all_({output}, {labels});
    return weighted_ ? weighted_(output, labels, weights) : plain_(output, labels);
  }
  // ValueError unless it is one of all.
  Tensor of_all(const Tensors& outputs, const Tensors& labels) const;

 private:
  std::function<Tensor(const Tensor&, const Tensor&)> plain_;
  std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> weighted_;
  std::function<Tensor(const Tensors&, const Tensors&)> of_all_;
};

// The loss of one of several outputs, measured as "<name>_loss". What is lowered is the sum of
// weight * loss, "loss".
struct OutputLoss {
  Measure measure;
  double weight = 1;      // finite, at least 0
  std::string name = {};  // "output1", "output2", ... unless given
};

// cross_entropy without other options; `weights` may be empty.
Tensor cross_entropy_of(const Tensor& logits, const Tensor& labels, const Tensor& weights = {});

// A number that is measured beside the loss. Where the measure is a scalar, that of a data set is
// the mean of those of its batches, by how many labels each has, without those that a mask of their
// shape hides. Where it is an array, counts say, it is the sum of theirs. `finish` makes the number
// of this mean or sum, an f64; a scalar may do without. So perplexity and F1 are those of the whole
// data set, not means over batches:
//
//     {"perplexity", kt::nn::cross_entropy_of,
//      [](const kt::Array& mean) { return std::exp(mean.item<double>()); }}
//
// Under a mask a metric captures it as a loss does, or it counts what fills up:
//
//     {"accuracy", [=](const kt::Tensor& output, const kt::Tensor& labels) {
//       return kt::nn::accuracy(output, labels, {.weights = mask});
//     }}
struct Metric {
  std::string name;
  Measure measure;
  std::function<double(const Array& total)> finish = {};
  int output = 0;  // of several: which one, and which labels, it is of
};

// Values by name, in the order of the metrics.
using NamedValues = std::vector<std::pair<std::string, double>>;

struct Measured {
  double loss = 0;
  NamedValues metrics = {};
  // "loss" or a metric. ValueError, which lists those there are, for another name.
  double operator[](std::string_view name) const;
};

struct Epoch {
  int number = 0;  // from 1
  // Over its batches, each measured while it was trained on, with dropout and the like.
  Measured train = {};
  std::optional<Measured> validation = {};
  std::int64_t steps = 0;  // taken by the trainer at its end
  double seconds = 0;      // of training, without validation
  double examples_per_second = 0;
  double waiting = 0;  // the part of the seconds in which the step waited for data
  // All that was measured: "loss", the metrics, "validation_loss", "validation_" and a metric.
  NamedValues values() const;
  double operator[](std::string_view name) const;  // ValueError as above
};

// ---- Callbacks

class Trainer;
struct FitOptions;

// Where a training stands in its data: so many batches of this epoch are done.
struct Place {
  int epoch = 1;
  std::int64_t batch = 0;
  std::int64_t batches = 0;  // in an epoch; 0: not known
};

// A call of fit that is under way.
struct FitState {
  Trainer& trainer;
  const FitOptions& options;
  std::int64_t batches = 0;               // in an epoch
  std::int64_t examples = 0;              // in an epoch
  std::vector<Epoch> history = {};        // the epochs that are done
  std::vector<std::string> names = {};    // of what each epoch measures: those of Epoch::values()
  int epoch = 0;                          // the one under way, from 1
  std::int64_t first_batch = 0;           // where it began, after a resumption
  std::int64_t batch = 0;                 // how many of its batches are done
  std::function<Measured()> so_far = {};  // their means
  double seconds = 0;                     // since the epoch began
  double waiting = 0;                     // of these, for data
  bool stop = false;                      // set it to end the training before the next batch
  Place place() const;                    // where to go on from
};

// Called on the thread of fit, one after the other. What one throws ends the training.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_train_begin(FitState&) {}
  virtual void on_epoch_begin(FitState&) {}
  virtual void on_batch_end(FitState&, const Measured& /*of_batch*/) {}
  virtual void on_epoch_end(FitState&) {}  // validated, and the last one of the history
  virtual void on_train_end(FitState&) {}  // not after an error
};

// One in the list of FitOptions: a copy of an object, or a std::shared_ptr to one that the program
// asks afterwards. Those that there are: callbacks.h, training_log.h.
class AnyCallback {
 public:
  template <std::derived_from<Callback> C>
  AnyCallback(C callback) : callback_(std::make_shared<C>(std::move(callback))) {}  // NOLINT
  template <std::derived_from<Callback> C>
  AnyCallback(std::shared_ptr<C> callback) : callback_(std::move(callback)) {}  // NOLINT
  const std::shared_ptr<Callback>& get() const { return callback_; }

 private:
  std::shared_ptr<Callback> callback_;
};

// ---- Trainers

struct FitOptions {
  // The number of the last one, counted from 1 in each call, whatever `start` is. The data and
  // their order go on over the calls of a Trainer: the first epoch of the next call is a new one.
  int epochs = 1;
  std::int64_t batch = 32;
  bool shuffle = true;     // else in ascending order
  std::uint64_t seed = 1;  // of the order of the examples, another one in each epoch
  bool drop_last = false;  // leave out the last batch of an epoch where it is smaller
  bool by_length = false;  // batches of sequences of about one length
  // What is tested after each epoch; or the last part of the examples is, and not trained on.
  std::optional<data::Dataset> validation = {};
  double validation_split = 0;
  // A weight for each class, for a loss that takes them: labels are then integers, and may be
  // anything where a mask of their shape is 0, where the weight is 0, too.
  std::vector<double> class_weights = {};
  // Threads that make batches while steps compute, and how many batches ahead, as LoaderOptions has
  // them.
  std::optional<int> threads = {};
  int ahead = 4;
  // Where to begin: Trainer::resume.
  Place start = {};
  std::vector<AnyCallback> callbacks = {};
  // A line for each epoch; on a terminal it is redrawn meanwhile. Null: none.
  std::ostream* progress = nullptr;
};

struct TrainerOptions {
  std::vector<Metric> metrics = {};
  // The variable of the batches' masks, for networks and losses that have captured it.
  Tensor mask = {};
  // Variables of the program's that belong to the state: a rate that a callback lowers, say.
  std::vector<Shared> state = {};
  // The decay of exponential moving averages of the parameters, in [0, 1), which each step moves
  // (optim::MovingAverage): 0.999, say. Evaluation, validation and prediction use them in place of
  // the parameters, unless Trainer::use_averages says otherwise; running statistics of
  // normalisation are not averaged.
  std::optional<double> average_decay = {};
  Target target = cpu();
  // On a GPU: training, evaluation and prediction run in streams of their own, beside functions of
  // other streams (docs/gpu.md).
  bool own_streams = false;
  // Devices that share every batch: each trains on its part of the rows, and all make the same
  // update (docs/parallel.md). Losses and metrics that are scalars are to be means over the rows,
  // arrays are counts; what a step measures is that of the whole batch, within rounding what one
  // device measures. Evaluation and prediction run on the first device; `target` is that one, or
  // not given. ValueError with a mask and for weights of labels, for which parts have no mean of
  // their own; for another target; of fit for a batch of fewer examples than devices, also the last
  // one of an epoch.
  std::optional<DeviceGroup> devices = {};
  // Check::values: the first operation whose result is not finite ends the training, named with
  // its line. Steps take several times as long (docs/checking.md).
  Check check = Check::environment;
};

class Trainer {
 public:
  // `x` and `labels` are variables whose first axis is the batch. The network is called on x for
  // training and for predicting; the optimizer lowers the loss. It is asked again by the first fit
  // with class_weights alone, a ValueError where it is no longer there. What is no Sequential, a
  // struct or a lambda of layers, is one as its only layer. What is frozen is so before the Trainer
  // is made: a parameter that set_trainable has changed since is a ValueError of the next step.
  // ValueError for an empty loss or metric, two metrics of one name and one called "loss";
  // ShapeError for a loss that is not a scalar, and a metric that is not and has no `finish`. Else
  // errors are those of calling the network, of the measures and of the optimizer. All name the
  // user's line.
  Trainer(Sequential net, Tensor x, Tensor labels, const Measure& loss, optim::Optimizer& optimizer,
          const TrainerOptions& options = {}, const Location& at = Location::current());
  template <class Net>
    requires(std::is_invocable_r_v<Tensor, Net&, const Tensor&> && !std::same_as<Net, Sequential>)
  Trainer(Net net, Tensor x, Tensor labels, const Measure& loss, optim::Optimizer& optimizer,
          const TrainerOptions& options = {}, const Location& at = Location::current())
      : Trainer(Sequential(std::vector<Layer>{Layer(std::move(net), at)}), std::move(x),
                std::move(labels), loss, optimizer, options, at) {}
  // Of several inputs or outputs: the network is a function of a list of Tensors, which gives one
  // or a list of them. There is a loss for each output, with its labels, in their order:
  //
  //     kt::nn::Trainer trainer(
  //         [=](const std::vector<kt::Tensor>& in) {
  //           const auto both = kt::concatenate({picture(in[0]), words(in[1])}, 1);
  //           return std::vector<kt::Tensor>{price(both), kind(both)};
  //         },
  //         {pictures, texts}, {prices, kinds},
  //         {{.measure = kt::nn::mean_squared_error, .name = "price"},
  //          {.measure = kt::nn::cross_entropy_of, .weight = 0.1, .name = "kind"}},
  //         adam, {.metrics = {{.name = "accuracy", .measure = kt::nn::accuracy, .output = 1}}});
  //     trainer.fit({picture_array, text_array}, {price_array, kind_array}, {.epochs = 5});
  //
  // or one loss of all outputs, a function of two lists, for which there may be no labels. Batches
  // bring the first input and labels as x and labels, the others as more_x and more_labels.
  // ValueError also for another number of losses than labels or than outputs.
  template <class Net>
    requires(std::is_invocable_r_v<Tensors, Net&, const Tensors&> ||
             std::is_invocable_r_v<Tensor, Net&, const Tensors&>)
  Trainer(Net net, Tensors x, Tensors labels, std::vector<OutputLoss> losses,
          optim::Optimizer& optimizer, const TrainerOptions& options = {},
          const Location& at = Location::current())
      : Trainer(of_lists(std::move(net)), std::move(x), std::move(labels), std::move(losses),
                optimizer, options, at, {}) {}
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  // One step, and what was measured in it, before the parameters changed. ShapeError where x and
  // labels differ in their number of examples; ValueError for no examples, for a loss that is not
  // finite, naming the step (the parameters are then not to be used), for a mask that is there
  // and not wanted or the other way, for another number of inputs or labels than the Trainer has
  // variables, and for weights where the loss takes none. Where a value is at fault, a label that
  // is no class, the error names its row.
  Measured train_minibatch(const Array& x, const Array& labels);
  Measured train_minibatch(const data::Batch& batch);
  Measured test_minibatch(const Array& x, const Array& labels) const;
  Measured test_minibatch(const data::Batch& batch) const;

  // Trains from options.start to the end of epoch options.epochs. ValueError for options out of
  // range, for another number of class_weights than the network is known to have classes, naming
  // the line of the call, and for no examples; errors of a batch, one with another number of rows
  // than asked for among them, name its number and the epoch.
  std::vector<Epoch> fit(const data::Dataset& examples, const FitOptions& options = {},
                         const Location& at = Location::current());
  std::vector<Epoch> fit(const Array& x, const Array& labels, const FitOptions& options = {},
                         const Location& at = Location::current());
  std::vector<Epoch> fit(const std::vector<Array>& x, const std::vector<Array>& labels,
                         const FitOptions& options = {}, const Location& at = Location::current());
  // ValueError for no examples.
  Measured evaluate(const data::Dataset& examples, std::int64_t batch = 256,
                    std::optional<int> threads = {}) const;
  Measured evaluate(const Array& x, const Array& labels, std::int64_t batch = 256) const;
  Measured evaluate(const std::vector<Array>& x, const std::vector<Array>& labels,
                    std::int64_t batch = 256) const;
  // What the network gives, for all examples in their order; ShapeError where that is not a row for
  // each.
  Array predict(const data::Dataset& examples, std::int64_t batch = 256,
                std::optional<int> threads = {}) const;
  Array predict(const Array& x, std::int64_t batch = 256) const;
  Array predict(const std::vector<Array>& x, std::int64_t batch = 256) const;
  // The same of all outputs; predict is a ValueError for several.
  std::vector<Array> predict_all(const data::Dataset& examples, std::int64_t batch = 256,
                                 std::optional<int> threads = {}) const;
  std::vector<Array> predict_all(const std::vector<Array>& x, std::int64_t batch = 256) const;

  // Whether evaluation, validation and prediction use the averages (TrainerOptions::average_decay)
  // from now on, or the parameters. ValueError, as of the next one, without averages.
  void use_averages(bool use);
  // The averages; `swap()` exchanges them with the parameters, for a file or for functions of the
  // program's own: then use_averages(false), until they are swapped again.
  optim::MovingAverage& averages();

  std::int64_t steps() const;     // taken so far
  std::int64_t examples() const;  // in these steps
  // Of several inputs it is for its parameters and its summary, not to be called.
  const Sequential& network() const;
  // All that training changes: the network's state, its averages, the optimizer's state, that of
  // the random numbers, TrainerOptions::state.
  std::vector<Shared> state() const;
  // A checkpoint of the state, the place in the data, and how many steps, examples and epochs there
  // were.
  void save(const std::filesystem::path& path, const Place& place = {}) const;
  // Goes back to a checkpoint. A training that begins at the place that is returned, with the same
  // data and options, ends with the same bits as one that was not interrupted. What is measured
  // of an epoch is that of its remaining batches, and callbacks begin anew. Errors are those of
  // load_checkpoint; IoError for a file that save has not written.
  Place resume(const std::filesystem::path& path);

 private:
  struct Parts;
  using ListNetwork = std::function<Tensors(const Tensors&)>;
  template <class Net>
  static ListNetwork of_lists(Net net) {
    return [net = std::move(net)](const Tensors& x) mutable -> Tensors {
      if constexpr (std::is_invocable_r_v<Tensor, Net&, const Tensors&>) {
        return {net(x)};
      } else {
        return net(x);
      }
    };
  }
  struct OfLists {};
  Trainer(ListNetwork net, Tensors x, Tensors labels, std::vector<OutputLoss> losses,
          optim::Optimizer& optimizer, const TrainerOptions& options, const Location& at, OfLists);
  std::unique_ptr<Parts> parts_;
};

}  // namespace kroton::nn
