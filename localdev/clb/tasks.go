package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

func (s *Server) describeTaskStatus(q *api.DescribeTaskStatusRequestParams) (*api.DescribeTaskStatusResponseParams, error) {
	if err := required(need{"TaskId", value(q.TaskId) != "" || value(q.DealName) != ""}); err != nil {
		return nil, err
	}
	task, err := s.backend.Task(value(q.TaskId), value(q.DealName))
	if err != nil {
		return nil, err
	}
	return &api.DescribeTaskStatusResponseParams{
		Status:          common.Int64Ptr(int64(task.Status)),
		Message:         &task.Message,
		LoadBalancerIds: common.StringPtrs(task.LoadBalancerIDs),
	}, nil
}

func (s *Server) describeQuota(*api.DescribeQuotaRequestParams) (*api.DescribeQuotaResponseParams, error) {
	answer := &api.DescribeQuotaResponseParams{}
	for _, u := range s.backend.Quotas() {
		quota := &api.Quota{QuotaId: common.StringPtr(u.ID), QuotaLimit: common.Int64Ptr(int64(u.Limit))}
		if u.Used >= 0 {
			quota.QuotaCurrent = common.Int64Ptr(int64(u.Used))
		}
		answer.QuotaSet = append(answer.QuotaSet, quota)
	}
	return answer, nil
}
