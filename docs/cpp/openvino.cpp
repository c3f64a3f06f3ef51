// The engine on OpenVINO, on the CPU.
#include "detector.hpp"

#include <openvino/openvino.hpp>

namespace {

class OpenVino : public Engine {
public:
    explicit OpenVino(const std::string& file) {
        ov::Core core;
        // Float parts in FP32: bf16, which some CPUs would take by themselves, finds other boxes.
        request_ = core.compile_model(file, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();
    }

    std::vector<Values> run(const std::vector<Given>& inputs, const std::vector<std::string>& outputs) override {
        for (const Given& one : inputs) {
            const ov::Shape shape(one.shape.begin(), one.shape.end());
            const auto type = one.bytes ? ov::element::u8 : ov::element::f32;
            request_.set_tensor(one.name, ov::Tensor(type, shape, const_cast<void*>(one.data)));
        }
        request_.infer();
        std::vector<Values> found;
        for (const std::string& name : outputs) {
            const ov::Tensor tensor = request_.get_tensor(name);
            const ov::Shape& shape = tensor.get_shape();
            Values values{{shape.begin(), shape.end()}, {}};
            if (tensor.get_element_type() == ov::element::i32)
                values.data.assign(tensor.data<int32_t>(), tensor.data<int32_t>() + tensor.get_size());
            else
                values.data.assign(tensor.data<float>(), tensor.data<float>() + tensor.get_size());
            found.push_back(std::move(values));
        }
        return found;
    }

private:
    ov::InferRequest request_;
};

}  // namespace

bool can_open(const std::string& suffix) { return suffix == ".xml" || suffix == ".onnx"; }

std::unique_ptr<Engine> open_engine(const std::string& file) { return std::make_unique<OpenVino>(file); }
