package api

import (
	"context"
	"time"

	v1 "alps/server/api/v1"
	"alps/server/auth"
)

const auditPage = 100

type idIn struct {
	ID string `path:"id" maxLength:"64"`
}

type tokensOut struct{ Body v1.TokenList }

func (s *Server) listTokens(ctx context.Context, _ *struct{}) (*tokensOut, error) {
	toks, err := s.Tokens.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &tokensOut{v1.TokenList{Tokens: make([]v1.Token, len(toks))}}
	for i := range toks {
		out.Body.Tokens[i] = tokenDoc(toks[i])
	}
	return out, nil
}

func tokenDoc(t auth.Token) v1.Token {
	return v1.Token{
		ID: t.ID, Name: t.Name, Role: string(t.Role), Scope: t.Scope, CreatedBy: t.CreatedBy,
		Created: t.Created, Expires: t.Expires, LastUsed: t.LastUsed,
	}
}

type createTokenIn struct{ Body v1.TokenRequest }

type createTokenOut struct{ Body v1.NewToken }

func (s *Server) createToken(ctx context.Context, in *createTokenIn) (*createTokenOut, error) {
	about(ctx, in.Body.Name, nil)
	t, text, err := s.Tokens.Create(ctx, auth.Request{
		Name: in.Body.Name, Role: auth.Role(in.Body.Role), Scope: in.Body.Scope,
		TTL: seconds(in.Body.TTL), CreatedBy: callFrom(ctx).actor.Name,
	})
	if err != nil {
		return nil, err
	}
	about(ctx, t.ID, map[string]string{"name": t.Name, "role": string(t.Role), "scope": t.Scope})
	return &createTokenOut{v1.NewToken{Token: tokenDoc(t), Text: text}}, nil
}

func (s *Server) deleteToken(ctx context.Context, in *idIn) (*struct{}, error) {
	about(ctx, in.ID, nil)
	return nil, s.Tokens.Delete(ctx, in.ID)
}

type joinTokensOut struct{ Body v1.JoinTokenList }

func (s *Server) listJoinTokens(ctx context.Context, _ *struct{}) (*joinTokensOut, error) {
	toks, err := s.Enrolment.JoinTokens(ctx)
	if err != nil {
		return nil, err
	}
	return &joinTokensOut{v1.JoinTokenList{Tokens: full(toks)}}, nil
}

type createJoinTokenIn struct{ Body v1.JoinTokenRequest }

type createJoinTokenOut struct{ Body v1.NewJoinToken }

func (s *Server) createJoinToken(ctx context.Context, in *createJoinTokenIn) (*createJoinTokenOut, error) {
	about(ctx, in.Body.Role, nil)
	t, err := s.Enrolment.CreateJoinToken(ctx, callFrom(ctx).actor.Name, in.Body)
	if err != nil {
		return nil, err
	}
	about(ctx, t.ID, map[string]string{"role": t.Role})
	return &createJoinTokenOut{t}, nil
}

func (s *Server) expireJoinToken(ctx context.Context, in *idIn) (*struct{}, error) {
	about(ctx, in.ID, nil)
	return nil, s.Enrolment.ExpireJoinToken(ctx, in.ID)
}

type auditIn struct {
	Actor  string    `query:"actor"`
	Action string    `query:"action" doc:"a noun and a verb, as in job.submit, or all of a noun's: job."`
	Object string    `query:"object" doc:"a job's or token's id, a node's name"`
	Since  time.Time `query:"since" doc:"only lines of this time or later"`
	Until  time.Time `query:"until" doc:"only lines before this time"`
	Before int64     `query:"before" minimum:"0" doc:"the next of the page before"`
	Limit  int       `query:"limit" minimum:"0" maximum:"10000" doc:"0 means 100"`
}

type auditOut struct{ Body v1.AuditList }

func (s *Server) listAudit(ctx context.Context, in *auditIn) (*auditOut, error) {
	list, err := s.Audit.Audit(ctx, v1.AuditFilter{
		Actor: in.Actor, Action: in.Action, Object: in.Object, Since: in.Since, Until: in.Until,
		Before: in.Before, Limit: orDefault(in.Limit, auditPage),
	})
	if err != nil {
		return nil, err
	}
	list.Lines = full(list.Lines)
	return &auditOut{list}, nil
}
